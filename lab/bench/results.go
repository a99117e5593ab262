package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// record runs the comparisons and writes RESULTS.md and the charts of what ran to dir, after each
// of them.
func record(ctx context.Context, r *report, dir string, rounds int, chosen []comparison) error {
	began := time.Now()
	facts, loadBefore := machine(ctx, began), loadAverage(ctx)
	version, err := serverVersion(ctx)
	if err != nil {
		return err
	}
	r.version("PostgreSQL", version)
	return run(ctx, r, rounds, chosen, func() error {
		load := fmt.Sprintf("%s at the beginning, %s at the end", loadBefore, loadAverage(ctx))
		facts := slices.Concat(facts, []fact{
			{"load average, 1, 5 and 15 minutes", load},
			{"duration", time.Since(began).Round(time.Second).String()},
		}, r.versions, built())
		drawn, err := charts(r.measured)
		if err != nil {
			return err
		}
		files := []resultFile{{"RESULTS.md", results(r, facts, drawn)}}
		for _, c := range drawn {
			files = append(files, resultFile{filepath.Join("charts", c.file+".svg"), c.svg})
		}
		return writeAll(dir, files)
	})
}

const howToRead = `# Results

Written by ` + "`go tool mage bench`" +
	`; [README.md](README.md) says how to read it. A ratio is the median of the rounds' ratios, with the quartiles
beside it: ×0.70 takes 0.70 of the other's time, so lower is better. Times mean little on a machine that is shared.
`

// results is the text of RESULTS.md.
func results(r *report, facts []fact, drawn []*chart) []byte {
	var b bytes.Buffer
	b.WriteString(howToRead)
	if len(r.missing) > 0 {
		fmt.Fprintf(&b, "\nThe run is not complete. These comparisons have not run: %s.\n",
			strings.Join(r.missing, ", "))
	}
	if failures := r.failures(); len(failures) > 0 {
		b.WriteString("\n## Failed\n\n")
		for _, err := range failures {
			fmt.Fprintf(&b, "- %s\n", strings.Join(strings.Fields(err.Error()), " "))
		}
	}
	fmt.Fprintf(&b, "\n## Worse than a peer\n\nWhat of ours took more than %.2f times as long as a peer in the same "+
		"table, the lower quartile of the ratio above 1 too; the worst first. Listed are the "+
		"tables whose sides took turns; what a comparison counts is in its section.\n\n", worseFrom)
	if found := worseThanPeers(r.measured); len(found) == 0 {
		b.WriteString("Nothing.\n")
	} else {
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
			fmt.Fprintf(&b, "| %s | %s | %s %s | %s | %d |\n", w.side, w.table, w.ratio, w.peer, toFirst, why+1)
		}
		b.WriteString("\nWhy:\n\n")
		for i, why := range whys {
			fmt.Fprintf(&b, "%d. %s\n", i+1, why)
		}
	}
	b.WriteString("\n## Made on\n\n| | |\n|---|---|\n")
	for _, f := range facts {
		fmt.Fprintf(&b, "| %s | %s |\n", f.name, f.value)
	}
	for _, s := range r.sections {
		fmt.Fprintf(&b, "\n## %s\n\n`GOWORK=off go -C lab/bench run . -rounds %d %s`: %s.\n", s.comparison, s.rounds,
			s.comparison, s.took.Round(time.Second))
		for _, c := range drawn {
			if c.comparison == s.comparison {
				fmt.Fprintf(&b, "\n![%s](charts/%s.svg)\n", c.alt, c.file)
			}
		}
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(s.text))
	}
	return b.Bytes()
}

type resultFile struct {
	path string // below the folder
	text []byte
}

// writeAll replaces files, each as a whole, after all of them have been written beside where they
// go. RESULTS.md is the first of them and replaced last.
func writeAll(dir string, files []resultFile) (err error) {
	temporary := make([]string, len(files))
	defer func() {
		for _, name := range temporary {
			if name != "" {
				_ = os.Remove(name)
			}
		}
	}()
	for i, f := range files {
		path := filepath.Join(dir, f.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { // for everybody to read
			return err
		}
		temp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
		if err != nil {
			return err
		}
		temporary[i] = temp.Name()
		_, err = temp.Write(f.text)
		if err := errors.Join(err, temp.Chmod(0o644), temp.Close()); err != nil {
			return err
		}
	}
	for i, f := range slices.Backward(files) {
		if err := os.Rename(temporary[i], filepath.Join(dir, f.path)); err != nil {
			return err
		}
		temporary[i] = ""
	}
	return nil
}
