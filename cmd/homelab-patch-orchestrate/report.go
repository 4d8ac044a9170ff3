package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"homelab-patch-orchestrate/internal/report"
	"homelab-patch-orchestrate/orchestrator"
)

func reportCommand(out *printer) *cobra.Command {
	j := &job{readOnly: true}
	var file string
	var markdown, asJSON bool
	c := &cobra.Command{
		Use:   "report RUN",
		Short: "Write the report of a run: a page, Markdown or JSON",
		Long: `Write what happened in RUN as one page that needs no network, and print where it is. RUN is the id
of a run, the beginning of one, or latest. Each run writes its page when it ends; this writes it anew.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: j.completeRun,
		RunE: func(c *cobra.Command, args []string) error {
			j.flags = c
			if err := j.resolveSettings(); err != nil {
				return err
			}
			if c.Flags().Changed("html") && file == "" {
				return errors.New("--html is empty: name a file, or - for standard output")
			}
			if !asJSON && !markdown && file == "" { // the page is put beside the journal
				if err := j.mine(); err != nil {
					return err
				}
			}
			_, journal, dir, err := j.find(args[0])
			if err != nil {
				return err
			}
			r := report.Of(c.Context(), journal, dir)
			switch {
			case asJSON:
				err = r.JSON(out.out)
			case markdown:
				err = r.Markdown(out.out, time.Local)
			case file == "-":
				err = r.HTML(out.out, time.Local)
			case file != "":
				err = writePage(file, r)
			default:
				file = filepath.Join(dir, pageFile)
				if err = writePage(file, r); err == nil {
					_, err = fmt.Fprintln(out.out, file)
				}
			}
			if err != nil {
				return failed(err)
			}
			return nil
		},
	}
	j.settingsFlags(c)
	f := c.Flags()
	f.StringVar(&file, "html", "", "write the page to `FILE`; - is standard output")
	f.BoolVar(&markdown, "markdown", false, "print it as Markdown")
	f.BoolVar(&asJSON, "json", false, "print it as JSON: the journal, and what follows from it")
	c.MarkFlagsMutuallyExclusive("html", "markdown", "json")
	return c
}

// pageFile is the name of a page in the folder of its run.
const pageFile = "report.html"

// writePage writes the page of a run, whole or not at all. Only who runs the program may read it.
func writePage(file string, r report.Report) error {
	return replaceFile(file, func(w io.Writer) error { return r.HTML(w, time.Local) })
}

// replaceFile writes a page into a file. It does not take the place of what is none, such as a device.
func replaceFile(file string, write func(io.Writer) error) error {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("write the page: %s is not a file: name one, or - for standard output", file)
	}
	var page bytes.Buffer
	if err := write(&page); err != nil {
		return fmt.Errorf("write the page %s: %w", file, err)
	}
	if err := orchestrator.ReplaceFile(file, page.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}
