package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Record does the same as Run, and writes RESULTS.md and the charts to dir after each comparison.
// Charts of comparisons that did not run stay as they were.
func (r *Report) Record(ctx context.Context, dir string, rounds int, chosen []Comparison) error {
	began := time.Now()
	facts, loadBefore := machine(ctx, began), loadAverage(ctx)
	version, err := serverVersion(ctx)
	if err != nil {
		return err
	}
	r.Version("PostgreSQL", version)
	return r.Run(ctx, rounds, chosen, func() error {
		facts := slices.Concat(facts, []fact{
			{"load average, 1, 5 and 15 minutes", fmt.Sprintf("%s at the beginning, %s at the end", loadBefore,
				loadAverage(ctx))},
			{"duration", time.Since(began).Round(time.Second).String()},
		}, r.versions, built())
		drawn := r.charts()
		for _, d := range drawn {
			if err := replaceFile(filepath.Join(dir, "charts", d.file+".svg"), d.svg); err != nil {
				return err
			}
		}
		return replaceFile(filepath.Join(dir, "RESULTS.md"), r.results(facts, drawn))
	})
}

const howToRead = `# Results

` + "`go tool mage bench`" + ` wrote this page; [README.md](README.md) says how to read it. A ratio is the median of the
rounds' ratios, with its quartiles beside it: ×0.70 takes 0.70 of the other's time, so lower is better. Times mean
little on a shared machine.
`

// results returns the text of RESULTS.md.
func (r *Report) results(facts []fact, drawn []drawing) []byte {
	var b bytes.Buffer
	b.WriteString(howToRead)
	if len(r.missing) > 0 {
		fmt.Fprintf(&b, "\nThe run is not complete. These comparisons have not run: %s.\n",
			strings.Join(r.missing, ", "))
	}
	if failures := r.Failures(); len(failures) > 0 {
		b.WriteString("\n## Failed\n\n")
		for _, err := range failures {
			fmt.Fprintf(&b, "- %s\n", strings.Join(strings.Fields(err.Error()), " "))
		}
	}
	r.writeWorse(&b)
	b.WriteString("\n## Made on\n\n| | |\n|---|---|\n")
	for _, f := range facts {
		fmt.Fprintf(&b, "| %s | %s |\n", f.name, f.value)
	}
	for _, s := range r.sections {
		name := s.comparison.Name
		fmt.Fprintf(&b, "\n## %s\n\n`GOWORK=off go -C lab/bench run . -rounds %d %s`: %s.\n", name, s.rounds, name,
			s.took.Round(time.Second))
		for _, d := range drawn {
			if d.comparison == name {
				fmt.Fprintf(&b, "\n![%s](charts/%s.svg)\n", d.alt, d.file)
			}
		}
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(s.text))
	}
	return b.Bytes()
}

// writeWorse writes the list of our sides that took longer than a peer.
func (r *Report) writeWorse(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n## Worse than a peer\n\nSides of ours that took more than %.2f times as long as a peer in the "+
		"same table, if the lower quartile of the ratio is above 1 too; the worst first. Only tables whose sides took "+
		"turns are listed; each section has the counts of its comparison.\n\n", worseFrom)
	found := r.worseThanPeers()
	if len(found) == 0 {
		b.WriteString("Nothing.\n")
		return
	}
	b.WriteString("| ours | in | against the best peer | against the first side | why |\n|---|---|---|---|---|\n")
	var whys []string
	for _, w := range found {
		toFirst := "the same"
		switch w.first {
		case w.peer:
		case w.side:
			toFirst = "is the first"
		case "":
			toFirst = "the first failed"
		default:
			toFirst = fmt.Sprintf("%s %s", w.toFirst, w.first)
		}
		why := slices.Index(whys, w.reason)
		if why < 0 {
			why = len(whys)
			whys = append(whys, w.reason)
		}
		fmt.Fprintf(b, "| %s | %s | %s %s | %s | %d |\n", w.side, w.table, w.ratio, w.peer, toFirst, why+1)
	}
	b.WriteString("\nWhy:\n\n")
	for i, why := range whys {
		fmt.Fprintf(b, "%d. %s\n", i+1, why)
	}
}

// replaceFile writes a file under another name first, so that readers never see a partial file.
func replaceFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
