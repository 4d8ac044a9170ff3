package notify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var at = time.Date(2026, 11, 22, 4, 0, 12, 0, time.UTC)

// cases are messages, from none to far too much.
func cases() map[string]Message {
	links := []Link{{"Runbook", "https://git.example/runbooks/OSPatchOrchestrateFailed.md"}, {"Dashboard", "https://grafana.example/d/homelab-patching"}}
	return map[string]Message{
		"failure": {
			Ref: "20261122T040000Z-1a2b3c", Time: at, Level: Critical, Title: "Patching was halted by prox",
			Text:   "wave 1 lost 1 host, the budget is 0: prox (failed)",
			Fields: []Field{{"What went wrong", "prox (wave 1) failed: package lab-broken failed: installed post-installation script returned error 1"}, {"Not touched", "infra-services"}, {"What to do", "Look at prox."}},
			Code:   "Setting up lab-broken (2.0-1) ...\ndpkg: error processing package lab-broken (--configure):\n exit status 1", Links: links,
		},
		"quiet":    {Ref: "20261122T040000Z-1a2b3c", Time: at, Level: Quiet, Title: "Nothing to do on 3 hosts in 41s"},
		"reboot":   {Time: at, Title: "Rebooting prox", Text: "After its upgrade, now:\nprox, 12 packages upgraded: linux-image-6.1.0-41-amd64", Links: links[1:]},
		"success":  {Time: at, Level: Success, Title: "Patched 2 of 3 hosts in 4m12s", Fields: []Field{{"Wave 0, 1m2s", "saltierpoop: patched, 12 packages, rebooted"}, {"", "left out"}, {"left out", " "}}},
		"late":     {Time: at.Add(-3 * time.Hour), Level: Warning, Title: "Patching was interrupted"},
		"hostile":  hostile(),
		"too much": tooMuch(),
	}
}

// hostile is what a host could say to be more than text.
func hostile() Message {
	bad := "@everyone <@123> <#4> `code` ```\nblock\n``` **bold** [click](https://evil.example) \x1b[31mred\x07 \u202eright to left \xff\xfe"
	return Message{Time: at, Title: bad + "\nsecond line", Text: bad, Fields: []Field{{bad, bad}}, Code: bad,
		Links: []Link{{"javascript", "javascript:alert(1)"}, {"password", "https://user:pass@host.example/"}, {"", "https://nolabel.example"}, {bad, "https://good.example/a b"}}}
}

// tooMuch is longer than every limit, in letters that are more than one unit or byte.
func tooMuch() Message {
	long := strings.Repeat("patché 🚀 ", 2000)
	m := Message{Time: at, Level: Critical, Title: long, Text: long, Code: long, Ref: long}
	for i := range 40 {
		m.Fields = append(m.Fields, Field{fmt.Sprintf("%d %s", i, long), long})
		m.Links = append(m.Links, Link{long, "https://host.example/" + strings.Repeat("x", 300)}, Link{"too long", "https://host.example/" + strings.Repeat("x", 3000)})
	}
	return m
}

func TestPayloads(t *testing.T) {
	now := at.Add(time.Second)
	for name, m := range cases() {
		name = strings.ReplaceAll(name, " ", "-")
		params, err := discordPayload(m, now)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".discord.json", indent(t, params))
		n := &Ntfy{Topic: "homelab-patch-critical-b4e9"}
		body, err := n.payload(m, now)
		if err != nil {
			t.Fatal(err)
		}
		var p ntfyPayload
		if err := json.Unmarshal(body, &p); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".ntfy.json", indent(t, p))
	}
}

func indent(t *testing.T, v any) []byte {
	t.Helper()
	text, err := plainJSON(v)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), '\n')
}

// What Discord checks, the stand-in checks; what ntfy checks is counted here.
func TestLimits(t *testing.T) {
	far := newStandIn(t)
	d := &Discord{Webhook: far.url()}
	for name, m := range cases() {
		if err := d.Notify(t.Context(), m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		body, err := (&Ntfy{Topic: "t"}).payload(m, at)
		var p ntfyPayload
		if err != nil || json.Unmarshal(body, &p) != nil || len(body) > ntfyBody || len(p.Message) > ntfyMessage || len(p.Actions) > ntfyActions ||
			len(p.Title) > ntfyTitle || !utf8.Valid(body) {
			t.Errorf("%s: %d bytes, %d of message, %d of title, %d actions: %v", name, len(body), len(p.Message), len(p.Title), len(p.Actions), err)
		}
		far.Forget() // and the rates
	}
	m := tooMuch()
	m.Code = strings.Repeat(`"\`, 4000) // each byte is two in JSON
	m.Text, m.Fields = "", nil
	m.Links = nil
	for range 4 {
		m.Links = append(m.Links, Link{"long", "https://host.example/" + strings.Repeat("x", 1000)})
	}
	if body, err := (&Ntfy{Topic: "t"}).payload(m, at); err != nil || len(body) > ntfyBody || len(body) < ntfyBody/2 {
		t.Errorf("%d bytes: %v", len(body), err)
	}
}

// Nobody is pinged, no button is lost, and nothing a host says is a link.
func TestDiscordTakesTextForText(t *testing.T) {
	far := newStandIn(t)
	if err := (&Discord{Webhook: far.url()}).Notify(t.Context(), hostile()); err != nil {
		t.Fatal(err)
	}
	got := far.Messages()[0]
	if len(got.Pings) > 0 || got.Ignored || len(got.Buttons) != 1 || got.Buttons[0].URL != "https://good.example/a%20b" {
		t.Errorf("%+v", got)
	}
	e := got.Embeds[0]
	before, code, _ := strings.Cut(e.Description, "```") // where nothing but its end is markup
	_, after, _ := strings.Cut(code, "\n```")
	for _, text := range []string{e.Title, before, after, e.Fields[0].Value} {
		if strings.Contains(text, "[click]") || strings.Contains(text, "@everyone") || strings.ContainsAny(e.Description, "\x1b\x07\u202e") {
			t.Errorf("%q", text)
		}
	}
	if n := strings.Count(e.Description, "```"); n != 2 {
		t.Errorf("%d fences: %q", n, e.Description)
	}
	if !strings.Contains(e.Description, "(<https://good.example/a%20b>)") {
		t.Errorf("the link is not in the text: %q", e.Description)
	}
}

// A button to a host without a dot would cost the whole message.
func TestDiscordButtons(t *testing.T) {
	far := newStandIn(t)
	m := message(1)
	m.Links = []Link{{"Grafana", "http://grafana:3000/d/x"}, {"ARA", "http://192.0.2.1:8000"}, {"six", "http://[2001:db8::1]/"}, {"Runbook", "https://git.example/x"}}
	if err := (&Discord{Webhook: far.url()}).Notify(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := far.Messages()[0]
	if len(got.Buttons) != 3 || !strings.Contains(got.Embeds[0].Description, "http://grafana:3000/d/x") || !strings.HasPrefix(got.UserAgent, "DiscordBot (") {
		t.Errorf("%+v", got)
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		size  func(string) int
		want  string
	}{
		{"short", 5, octets, "short"},
		{"a longer text than that", 20, octets, "a longer t" + ellipsis},
		{"🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀", 12, units, "🚀🚀" + ellipsis},
		{"ééééééééééé", 15, octets, "éé" + ellipsis},
		{"abc", 2, octets, "ab"},
		{"", 0, octets, ""},
	} {
		if got := cut(c.in, c.limit, c.size); got != c.want || c.size(got) > c.limit {
			t.Errorf("cut(%q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

func FuzzPayloads(f *testing.F) {
	for _, m := range cases() {
		f.Add(m.Title, m.Text, m.Code, len(m.Fields))
	}
	f.Fuzz(func(t *testing.T, title, text, code string, fields int) {
		m := Message{Title: title, Text: text, Code: code, Time: at}
		for range max(0, fields%50) {
			m.Fields = append(m.Fields, Field{title, text})
		}
		params, err := discordPayload(m, at)
		if err == nil {
			e := params.Embeds[0]
			sum := units(e.Title) + units(e.Description)
			for _, f := range e.Fields {
				sum += units(f.Name) + units(f.Value)
				if f.Name == "" || f.Value == "" || units(f.Name) > discordFieldName || units(f.Value) > discordFieldValue {
					t.Errorf("field %+v", f)
				}
			}
			if sum > discordEmbed || units(e.Title) > discordTitle || units(e.Description) > discordDescription || len(e.Fields) > discordFields {
				t.Errorf("%d in all, %d fields", sum, len(e.Fields))
			}
		}
		if body, err := (&Ntfy{}).payload(m, at); err != nil || len(body) > ntfyBody {
			t.Errorf("%d bytes, %v", len(body), err)
		}
	})
}
