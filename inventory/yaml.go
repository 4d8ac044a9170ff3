package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// sizeLimit is more than any file that a person edits needs.
const sizeLimit = 1 << 20

// Document returns what the only YAML document of a text holds; nil if there is none. The settings of the program are
// read by it too. Its error is an [*Error] that quotes no value; file is what it calls the text.
func Document(file string, text []byte) (*yaml.Node, error) {
	if len(text) > sizeLimit {
		return nil, &Error{File: file, Problem: fmt.Sprintf("is larger than %d bytes", sizeLimit), Hint: "name the right file"}
	}
	var doc, next yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err == nil {
		if err = dec.Decode(&next); errors.Is(err, io.EOF) {
			return doc.Content[0], nil
		}
	}
	if err != nil {
		return nil, syntax(file, text, err)
	}
	return nil, &Error{File: file, Line: next.Line, Problem: "a second YAML document", Hint: "keep one"}
}

// syntax gives yaml's own words the file and the line. It names none on the first line, and none where a character or an
// alias is wrong.
func syntax(file string, text []byte, err error) *Error {
	e := &Error{File: file, Line: 1, Problem: strings.TrimPrefix(err.Error(), "yaml: "),
		Hint: "mend it there or near it: indent with spaces, and quote what has a special character"}
	if found := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(e.Problem); found != nil {
		e.Line, _ = strconv.Atoi(found[1])
		e.Problem = e.Problem[len(found[0]):]
		// Its parser counts from 0 where its scanner counts from 1.
		if regexp.MustCompile(`^did not find expected (node content|',' or|'-' indicator|key|<document)`).MatchString(e.Problem) {
			e.Line++
		}
		return e
	}
	line := func(at int) int { return 1 + bytes.Count(text[:max(at, 0)], []byte("\n")) }
	if found := regexp.MustCompile(`^unknown anchor '(.*)' referenced`).FindStringSubmatch(e.Problem); found != nil {
		// The name is what was written, which may be a password.
		e.Line, e.Problem, e.Hint = line(bytes.Index(text, []byte("*"+found[1]))), "a value begins with *, which makes it an alias", "put it in quotes"
	} else if at := bytes.IndexFunc(text, odd); at >= 0 {
		e.Line, e.Problem, e.Hint = line(at), "a character that YAML cannot have", "take it out, and save the file as UTF-8"
	}
	return e
}

// odd reports whether YAML refuses a character wherever it is.
func odd(r rune) bool {
	return r == utf8.RuneError || unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' && r != 0x85
}

// Nearest returns the known word that takes the fewest edits to reach, for the message that refuses another; empty if
// all are far away. Capitals and dashes for underscores cost nothing.
func Nearest(word string, known []string) string {
	best, fewest := "", len(word)/2+1
	for _, name := range known {
		n := edits(strings.ToLower(strings.ReplaceAll(word, "-", "_")), name)
		if n < fewest || n == fewest && best != "" && name < best {
			best, fewest = name, n
		}
	}
	return best
}

// edits counts the insertions, deletions and replacements that turn a into b (Levenshtein).
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
