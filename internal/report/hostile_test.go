package report

import (
	"context"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	o "homelab-patch-orchestrate/orchestrator"
)

// evil is what a host may say to whoever reads of it.
const evil = "<script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>\"'>\x1b]0;owned\x07\x1b[31mred\u202egpj.exe\x00 [link](http://evil.example) `tick` | @everyone &amp; {{.Style}} </style></script>"

// hostile is a report with what a host may say in each of its texts.
func hostile(r o.Report) o.Report {
	id := r.ID
	var plant func(v reflect.Value)
	plant = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				plant(v.Elem())
			}
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Field(i).CanSet() && v.Type() != reflect.TypeFor[time.Time]() {
					plant(v.Field(i))
				}
			}
		case reflect.Slice:
			for i := range v.Len() {
				plant(v.Index(i))
			}
		case reflect.String:
			if v.Type() == reflect.TypeFor[string]() {
				v.SetString(v.String() + evil)
			}
		}
	}
	plant(reflect.ValueOf(&r).Elem())
	r.ID = id
	return r
}

// TestHostile plants what a host may say in every text of a report.
func TestHostile(t *testing.T) {
	r := hostile(halted(22))
	r.Waves[0].Hosts[0].Outcome = o.Outcome(evil) // of a journal that somebody wrote by hand
	page := pageOf(t, r)
	for _, not := range []string{"<script>alert", "<img", "evil.example/x onerror=alert(2)>", "\x1b", "\u202e", "\x00", "</style></script>"} {
		if strings.Contains(page, not) {
			t.Errorf("the page has %q", not)
		}
	}
	if n := strings.Count(page, "<script"); n != 1 {
		t.Errorf("the page has %d scripts", n)
	}
	for _, tag := range regexp.MustCompile(`<[a-z][^>]*>`).FindAllString(page, -1) {
		for _, word := range []string{"src=", " on", "href=", "style=", "action="} {
			if strings.Contains(tag, word) && tag != `<link rel="icon" href="data:,">` && !strings.Contains(tag, "Content-Security-Policy") {
				if outside := regexp.MustCompile(`"[^"]*"`).ReplaceAllString(tag, ""); strings.Contains(outside, word) {
					t.Errorf("the page has %s", tag)
				}
			}
		}
	}
	var md strings.Builder
	if err := Of(context.Background(), r, t.TempDir()).Markdown(&md, time.UTC); err != nil {
		t.Fatal(err)
	}
	rest := withoutCode(md.String()) // must have nothing that is markup
	for _, not := range []string{"<script", "<img", "\x1b", "\u202e", "\x00"} {
		if strings.Contains(rest, not) {
			t.Errorf("the Markdown has %q outside of code", not)
		}
	}
	for _, not := range []string{"\x1b", "\u202e", "\x00"} {
		if strings.Contains(md.String(), not) {
			t.Errorf("the Markdown has %q", not)
		}
	}
	if got := plain(evil); strings.Contains(got, "owned") || strings.Contains(got, "[31m") || !strings.Contains(got, "redgpj.exe") {
		t.Errorf("plain: %s", got)
	}
	if strings.Contains(Escape(evil), "<") || strings.Contains(Escape(evil), "@") || strings.Contains(Escape(evil), "http://") {
		t.Errorf("escaped: %s", Escape(evil))
	}
	var index strings.Builder
	if err := Index(&index, []Entry{{Run: r, Page: true}, {Run: o.Report{ID: r.ID}, Err: fmt.Errorf("%s", evil)}}, 3, time.UTC); err != nil {
		t.Fatal(err)
	}
	if s := index.String(); strings.Contains(s, "<script") || strings.Contains(s, "<img") || strings.Contains(s, "\x1b") || !strings.Contains(s, r.ID+"/report.html") {
		t.Error("the index shows what hosts said as it is")
	}
}

// withoutCode is Markdown without what stands in code: between as many backticks as began it.
func withoutCode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		switch {
		case s[i] == '\\':
			i += 2
		case s[i] == '`':
			n := len(s[i:]) - len(strings.TrimLeft(s[i:], "`"))
			for i += n; i < len(s); i++ {
				if m := len(s[i:]) - len(strings.TrimLeft(s[i:], "`")); m == n {
					i += n
					break
				} else if m > 0 {
					i += m - 1
				}
			}
		default:
			b.WriteByte(s[i])
			i++
		}
	}
	return b.String()
}

// Lines that Ansible quotes from the operator's files may hold a password: none is shown, wherever it was quoted.
func TestQuoted(t *testing.T) {
	const quote = "The error appears to be in '/srv/site.yml': line 3, column 7.\n\nThe offending line appears to be:\n\n  vars:\n      password: hush\n      ^ here\n"
	r := with(halted(22), func(r *o.Report) {
		h := r.Waves[1].Hosts
		h[0].Message, h[0].Patch.Failure.Detail, h[1].Message = quote, quote, quote
	})
	var md strings.Builder
	if err := Of(context.Background(), r, record(t, r)).Markdown(&md, time.UTC); err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"page": pageOf(t, r), "Markdown": md.String()} {
		if strings.Contains(text, "hush") || !strings.Contains(text, "(not shown)") {
			t.Errorf("the %s quotes a file", what)
		}
	}
}
