package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"homelab-patch-orchestrate/internal/tui"
)

// table is lines of columns, the first of them their heads. It knows how wide the terminal is: the last column
// gets what the others leave of a line. Where that is next to nothing it goes below, and with it those that do
// not fit.
type table struct {
	rows [][]string
}

// enough is how wide a last column must be to be read.
const enough = 32

// row adds a line. What a host said in it is made safe.
func (t *table) row(cells ...any) {
	var row []string
	for _, c := range cells {
		row = append(row, clean(fmt.Sprint(c)))
	}
	t.rows = append(t.rows, row)
}

// print writes the lines, each after indent. A width of 0 cuts nothing.
func (t *table) print(w io.Writer, indent string, width int) {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	last := len(widths) - 1
	left := width - utf8.RuneCountInString(indent)
	for _, w := range widths[:last] {
		left -= w + 2
	}
	beside := last // columns from here on are below
	if width == 0 || left >= min(enough, widths[last]) {
		beside = last + 1
	}
	for beside <= last && beside > 1 && left < -2 {
		beside--
		left += widths[beside] + 2
	}
	for n, row := range t.rows {
		line := indent
		for i, cell := range row[:min(beside, last)] {
			line += cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
		}
		below := strings.Join(slices.DeleteFunc(slices.Clone(row[min(beside, last):]), func(s string) bool { return s == "" }), "  ")
		switch {
		case beside > last && width > 0:
			line += tui.Line(row[last], left)
		case beside > last:
			line += row[last]
		case n > 0 && below != "":
			line = strings.TrimRight(line, " ") + "\n" + indent + "  " + tui.Line(below, width-len(indent)-2)
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

// width is that of the terminal that the result goes to; 0 if it goes elsewhere.
func (p *printer) width() int {
	if !term.IsTerminal(int(p.out.Fd())) || os.Getenv("TERM") == "dumb" {
		return 0
	}
	width, _, err := term.GetSize(int(p.out.Fd()))
	if err != nil {
		return 0
	}
	return width
}
