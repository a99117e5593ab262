package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/page-builder/persistence/pgconfig"
)

// reportConfiguration lists every setting that has a value. pgconfig has masked the secrets.
func reportConfiguration(out io.Writer, cfg pgconfig.Config) {
	fmt.Fprintln(out, "Configuration")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range cfg.Report() {
		if s.Value == "" && s.Note == "" {
			continue
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", s.Key, s.Value, s.Source)
		if s.Note != "" {
			fmt.Fprintf(table, "  \t  note: %s\t\n", s.Note)
		}
	}
	_ = table.Flush()
}

// lineWidth leaves room next to it on most terminals.
const lineWidth = 100

func explainVariables(out io.Writer, prefix string) {
	if prefix != "" && !strings.HasSuffix(prefix, "_") {
		prefix += "_"
	}
	section := ""
	for _, v := range pgconfig.Variables() {
		if v.Section != section {
			section = v.Section
			fmt.Fprintf(out, "%s\n\n", section)
		}
		name := v.Name
		if strings.HasPrefix(name, "DATABASE_") || strings.HasPrefix(name, "DIRECT_") {
			name = prefix + name
		}
		switch v.Default {
		case "":
			name += "   (no default)"
		case v.DefaultDevelopment:
			name += "   (default " + v.Default + ")"
		default:
			name += "   (default " + v.Default + ", in development and test " + v.DefaultDevelopment + ")"
		}
		fmt.Fprintf(out, "  %s\n", name)
		line := "     "
		for _, word := range strings.Fields(v.Doc) {
			if len(line)+1+len(word) > lineWidth {
				fmt.Fprintln(out, line)
				line = "     "
			}
			line += " " + word
		}
		fmt.Fprintf(out, "%s\n\n", line)
	}
}
