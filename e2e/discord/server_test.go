package discord

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	path   = "/api/v10/webhooks/7/secret"
	asking = path + "?wait=true&with_components=true"
)

// post sends a body to a fresh webhook, or to s.
func post(t *testing.T, s *Server, url string, body any) *httptest.ResponseRecorder {
	t.Helper()
	text, ok := body.(string)
	if !ok {
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		text = string(data)
	}
	r := httptest.NewRequest("POST", url, strings.NewReader(text))
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("User-Agent", "test")
	return do(s, r)
}

func do(s *Server, r *http.Request) *httptest.ResponseRecorder {
	if s == nil {
		s = &Server{ID: "7", Token: "secret"}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// failed checks an answer with an error.
func failed(t *testing.T, w *httptest.ResponseRecorder, status, code int, message string) {
	t.Helper()
	var body struct {
		Code    int
		Message string
	}
	err := json.Unmarshal(w.Body.Bytes(), &body)
	if w.Code != status || err != nil || body.Code != code || body.Message != message {
		t.Errorf("%d %s; want %d, code %d, %q", w.Code, w.Body, status, code, message)
	}
}

// invalidAt checks that a form was refused for one error at a path such as embeds.0.title.
func invalidAt(t *testing.T, w *httptest.ResponseRecorder, path, code string) {
	t.Helper()
	failed(t, w, 400, 50035, "Invalid Form Body")
	var body struct{ Errors map[string]any }
	json.Unmarshal(w.Body.Bytes(), &body)
	found := map[string]string{}
	var walk func(at string, o map[string]any)
	walk = func(at string, o map[string]any) {
		for name, value := range o {
			if list, ok := value.([]any); ok && name == "_errors" {
				for _, e := range list {
					found[strings.TrimPrefix(at, ".")] = fmt.Sprint(e.(map[string]any)["code"])
				}
			} else {
				walk(at+"."+name, value.(map[string]any))
			}
		}
	}
	walk("", body.Errors)
	if !maps.Equal(found, map[string]string{path: code}) {
		t.Errorf("errors %v, want %s at %s\n%s", found, code, path, w.Body)
	}
}

type o = map[string]any

func x(n int) string { return strings.Repeat("x", n) }

func embed(members o) o { return o{"embeds": []o{members}} }

func field(name, value string) o {
	return o{"name": name, "value": value}
}

func times[T any](n int, one T) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = one
	}
	return all
}

func row(buttons ...o) o { return o{"type": 1, "components": buttons} }

func button(label, url string) o { return o{"type": 2, "style": 5, "label": label, "url": url} }

func link(n int) string { return "https://a.example/" + x(n-len("https://a.example/")) }

// Every limit: n is taken, n+1 is not.
func TestLimits(t *testing.T) {
	smile := "😀" // one code point, two UTF-16 code units
	for _, c := range []struct {
		name string
		n    int
		body func(n int) o
		path string
		code string
	}{
		{"content", 2000, func(n int) o { return o{"content": x(n)} }, "content", "BASE_TYPE_MAX_LENGTH"},
		{"content in UTF-16", 1000, func(n int) o { return o{"content": strings.Repeat(smile, n)} }, "content", "BASE_TYPE_MAX_LENGTH"},
		{"content of two bytes each", 2000, func(n int) o { return o{"content": strings.Repeat("ä", n)} }, "content", "BASE_TYPE_MAX_LENGTH"},
		{"username", 80, func(n int) o { return o{"content": "a", "username": x(n)} }, "username", "BASE_TYPE_MAX_LENGTH"},
		{"embeds", 10, func(n int) o { return o{"embeds": times(n, o{"title": "a"})} }, "embeds", "BASE_TYPE_MAX_LENGTH"},
		{"title", 256, func(n int) o { return embed(o{"title": x(n)}) }, "embeds.0.title", "BASE_TYPE_MAX_LENGTH"},
		{"description", 4096, func(n int) o { return embed(o{"description": x(n)}) }, "embeds.0.description", "BASE_TYPE_MAX_LENGTH"},
		{"fields", 25, func(n int) o { return embed(o{"fields": times(n, field("a", "b"))}) }, "embeds.0.fields", "BASE_TYPE_MAX_LENGTH"},
		{"name of a field", 256, func(n int) o { return embed(o{"fields": []o{field(x(n), "b")}}) }, "embeds.0.fields.0.name", "BASE_TYPE_MAX_LENGTH"},
		{"value of a field", 1024, func(n int) o { return embed(o{"fields": []o{field("a", x(n))}}) }, "embeds.0.fields.0.value", "BASE_TYPE_MAX_LENGTH"},
		{"footer", 2048, func(n int) o { return embed(o{"footer": o{"text": x(n)}}) }, "embeds.0.footer.text", "BASE_TYPE_MAX_LENGTH"},
		{"author", 256, func(n int) o { return embed(o{"author": o{"name": x(n)}}) }, "embeds.0.author.name", "BASE_TYPE_MAX_LENGTH"},
		{"sum of one embed", 6000, func(n int) o {
			return embed(o{"description": x(4096), "footer": o{"text": x(n - 4096)}})
		}, "embeds", "MAX_EMBED_SIZE_EXCEEDED"},
		{"sum of all", 6000, func(n int) o {
			return o{"embeds": []o{
				{"title": x(256), "description": x(4000)},
				{"author": o{"name": x(100)}, "fields": []o{field(x(200), x(300))}, "footer": o{"text": x(n - 4856)}},
			}, "content": x(2000)}
		}, "embeds", "MAX_EMBED_SIZE_EXCEEDED"},
		{"link of an embed", 2048, func(n int) o { return embed(o{"title": "a", "url": link(n)}) }, "embeds.0.url", "BASE_TYPE_MAX_LENGTH"},
		{"color", 0xFFFFFF, func(n int) o { return embed(o{"title": "a", "color": n}) }, "embeds.0.color", "NUMBER_TYPE_MAX"},
		{"rows", 5, func(n int) o { return o{"components": times(n, row(button("a", link(20))))} }, "components", "BASE_TYPE_BAD_LENGTH"},
		{"buttons", 5, func(n int) o { return o{"components": []o{row(times(n, button("a", link(20)))...)}} }, "components.0.components", "BASE_TYPE_BAD_LENGTH"},
		{"label", 80, func(n int) o { return o{"components": []o{row(button(x(n), link(20)))}} }, "components.0.components.0.label", "BASE_TYPE_MAX_LENGTH"},
		{"link of a button", 512, func(n int) o { return o{"components": []o{row(button("a", link(n)))}} }, "components.0.components.0.url", "BASE_TYPE_MAX_LENGTH"},
		{"users", 100, func(n int) o { return o{"content": "a", "allowed_mentions": o{"users": times(n, "1")}} }, "allowed_mentions.users", "BASE_TYPE_MAX_LENGTH"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if w := post(t, nil, asking, c.body(c.n)); w.Code != 200 {
				t.Errorf("%d: %d %s", c.n, w.Code, w.Body)
			}
			invalidAt(t, post(t, nil, asking, c.body(c.n+1)), c.path, c.code)
		})
	}
}

func TestRefused(t *testing.T) {
	with := func(o o, name string, value any) o { o = maps.Clone(o); o[name] = value; return o }
	for _, c := range []struct {
		body any
		path string
		code string
	}{
		{o{"content": "a", "username": ""}, "username", "BASE_TYPE_BAD_LENGTH"},
		{o{"content": "a", "username": "My DISCORD bot"}, "username", "USERNAME_INVALID_CONTAINS"},
		{o{"content": "a", "username": "Clyde"}, "username", "USERNAME_INVALID_CONTAINS"},
		{o{"content": "a", "username": "here"}, "username", "USERNAME_INVALID"},
		{o{"content": 7}, "content", "STRING_TYPE_CONVERT"},
		{o{"content": "a", "tts": "yes"}, "tts", "BOOLEAN_TYPE_CONVERT"},
		{o{"content": "a", "flags": 64}, "flags", "BASE_TYPE_CHOICES"},
		{o{"content": "a", "avatar_url": "ftp://a.example/x"}, "avatar_url", "URL_TYPE_INVALID_SCHEME"},
		{o{"embeds": o{}}, "embeds", "LIST_TYPE_CONVERT"},
		{o{"embeds": []any{"a"}}, "embeds.0", "MODEL_TYPE_CONVERT"},
		{o{"embeds": []any{nil}}, "embeds.0", "BASE_TYPE_REQUIRED"},
		{embed(o{}), "embeds.0.description", "BASE_TYPE_REQUIRED"},
		{embed(o{"title": " ", "url": link(30)}), "embeds.0.description", "BASE_TYPE_REQUIRED"},
		{embed(o{"fields": []o{field("", "b")}}), "embeds.0.fields.0.name", "BASE_TYPE_REQUIRED"},
		{embed(o{"fields": []o{field("a", " ")}}), "embeds.0.fields.0.value", "BASE_TYPE_REQUIRED"},
		{embed(o{"fields": []o{{"name": "a"}}}), "embeds.0.fields.0.value", "BASE_TYPE_REQUIRED"},
		{embed(o{"title": "a", "footer": o{}}), "embeds.0.footer.text", "BASE_TYPE_REQUIRED"},
		{embed(o{"title": "a", "author": o{"url": link(30)}}), "embeds.0.author.name", "BASE_TYPE_REQUIRED"},
		{embed(o{"title": "a", "color": -1}), "embeds.0.color", "NUMBER_TYPE_MIN"},
		{embed(o{"title": "a", "color": 1.5}), "embeds.0.color", "NUMBER_TYPE_COERCE"},
		{embed(o{"title": "a", "color": "red"}), "embeds.0.color", "NUMBER_TYPE_COERCE"},
		{embed(o{"title": "a", "timestamp": "today"}), "embeds.0.timestamp", "DATE_TIME_TYPE_PARSE"},
		{embed(o{"title": "a", "timestamp": "2026-11-23 03:00:00"}), "embeds.0.timestamp", "DATE_TIME_TYPE_PARSE"},
		{embed(o{"title": "a", "url": "javascript:alert(1)"}), "embeds.0.url", "URL_TYPE_INVALID_SCHEME"},
		{embed(o{"title": "a", "url": "/runs/1"}), "embeds.0.url", "URL_TYPE_INVALID_SCHEME"},
		{embed(o{"title": "a", "url": "http://grafana:3000/d/patching"}), "embeds.0.url", "URL_TYPE_INVALID_URL"},
		{embed(o{"title": "a", "url": "http://localhost/"}), "embeds.0.url", "URL_TYPE_INVALID_URL"},
		{embed(o{"title": "a", "url": "https://"}), "embeds.0.url", "URL_TYPE_INVALID_URL"},
		{embed(o{"title": "a", "url": "https://a.example/%zz"}), "embeds.0.url", "URL_TYPE_INVALID_URL"},
		{embed(o{"image": o{"url": "file:///etc/passwd"}}), "embeds.0.image.url", "URL_TYPE_INVALID_SCHEME"},
		{o{"components": []o{button("a", link(20))}}, "components.0.type", "UNION_TYPE_CHOICES"},
		{o{"components": []o{row()}}, "components.0.components", "BASE_TYPE_BAD_LENGTH"},
		{o{"components": []o{row(o{"type": 2, "style": 1, "label": "a", "custom_id": "b"})}}, "components.0.components.0", "COMPONENT_TYPE_INVALID"},
		{o{"components": []o{row(o{"type": 3, "custom_id": "b"})}}, "components.0.components.0", "COMPONENT_TYPE_INVALID"},
		{o{"components": []o{row(with(button("a", link(20)), "custom_id", "b"))}}, "components.0.components.0.custom_id",
			"BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE"},
		{o{"components": []o{row(button("", link(20)))}}, "components.0.components.0.label", "BASE_TYPE_REQUIRED"},
		{o{"components": []o{row(button("a", ""))}}, "components.0.components.0.url", "BASE_TYPE_REQUIRED"},
		{o{"components": []o{row(button("a", "ssh://a.example"))}}, "components.0.components.0.url", "URL_TYPE_INVALID_SCHEME"},
		{o{"components": []o{row(button("a", "http://grafana:3000"))}}, "components.0.components.0.url", "URL_TYPE_INVALID_URL"},
		{o{"content": "a", "allowed_mentions": o{"parse": []string{"all"}}}, "allowed_mentions.parse.0", "BASE_TYPE_CHOICES"},
		{o{"content": "a", "allowed_mentions": o{"parse": []string{"users"}, "users": []string{"1"}}}, "allowed_mentions",
			"MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE"},
	} {
		t.Run(c.path+" "+c.code, func(t *testing.T) { invalidAt(t, post(t, nil, asking, c.body), c.path, c.code) })
	}
	for _, body := range []any{
		o{}, o{"content": ""}, o{"content": " \n"}, o{"content": nil, "embeds": []o{}, "components": nil}, o{"username": "a"},
	} {
		failed(t, post(t, nil, asking, body), 400, 50006, "Cannot send an empty message")
	}
	// Without with_components the buttons are not there: nothing is left.
	failed(t, post(t, nil, path, o{"components": []o{row(button("a", link(20)))}}), 400, 50006, "Cannot send an empty message")
	for _, body := range []string{"", "{", "[]", `{"content":"a"} more`, "{\"content\":\"\xff\"}"} {
		failed(t, post(t, nil, path, body), 400, 50109, "The request body contains invalid JSON.")
	}
	failed(t, post(t, nil, path, o{"content": "a", "thread_name": "b"}), 400, 220003, "Webhooks can only create threads in forum channels")
	failed(t, post(t, nil, path+"?thread_id=1", o{"content": "a"}), 404, 10003, "Unknown Channel")
	failed(t, post(t, nil, path, `{"content":"`+x(MaxBody)+`"}`), 413, 40005, "Request entity too large")
}

func TestRoutes(t *testing.T) {
	ok := o{"content": "a"}
	failed(t, post(t, nil, "/api/v10/webhooks/8/secret", ok), 404, 10015, "Unknown Webhook")
	failed(t, post(t, nil, "/api/v10/webhooks/7/wrong", ok), 401, 50027, "Invalid Webhook Token")
	failed(t, post(t, nil, "/api/v10/webhooks/7", ok), 404, 0, "404: Not Found")
	failed(t, post(t, nil, "/webhooks/7/secret", ok), 404, 0, "404: Not Found")
	failed(t, post(t, nil, "/api/v5/webhooks/7/secret", ok), 400, 50041, "Invalid API version")
	failed(t, do(nil, request("PUT", path, "", nil)), 405, 0, "405: Method Not Allowed")
	for _, url := range []string{"/api/webhooks/7/secret", "/api/v9/webhooks/7/secret", path} {
		if w := post(t, nil, url, ok); w.Code != 204 || w.Body.Len() > 0 {
			t.Errorf("%s: %d %s", url, w.Code, w.Body)
		}
	}
	if w := do(nil, request("GET", path, "", nil)); w.Code != 200 || !strings.Contains(w.Body.String(), `"id":"7"`) {
		t.Errorf("GET: %d %s", w.Code, w.Body)
	}
	r := request("POST", path, "application/json", strings.NewReader(`{"content":"a"}`))
	r.Header.Set("User-Agent", "")
	if w := do(nil, r); w.Code != 403 {
		t.Errorf("no User-Agent: %d", w.Code)
	}
	for _, kind := range []string{"", "text/plain", "application/json;;"} {
		w := do(nil, request("POST", path, kind, strings.NewReader(`{"content":"a"}`)))
		failed(t, w, 400, 50035, "Invalid Form Body")
	}
}

func request(method, url, kind string, body io.Reader) *http.Request {
	r := httptest.NewRequest(method, url, body)
	r.Header.Set("Content-Type", kind)
	r.Header.Set("User-Agent", "test")
	return r
}

// A URL without a version is that of version 6, with errors of other words.
func TestOldWords(t *testing.T) {
	w := post(t, nil, "/api/webhooks/7/secret", embed(o{"title": "a", "url": "http://grafana:3000"}))
	if got := strings.TrimSpace(w.Body.String()); w.Code != 400 || got != `{"embeds":["0"]}` {
		t.Errorf("%d %s", w.Code, got)
	}
	w = post(t, nil, "/api/webhooks/7/secret", o{"content": x(2001)})
	if got := strings.TrimSpace(w.Body.String()); w.Code != 400 || got != `{"content":["Must be 2000 or fewer in length."]}` {
		t.Errorf("%d %s", w.Code, got)
	}
}

// What was taken is kept, in order, as a reader sees it.
func TestKept(t *testing.T) {
	var log bytes.Buffer
	s := &Server{ID: "7", Token: "secret", Log: &log}
	body := o{
		"content": "hello @everyone <@1> <@&2> <@3>", "username": "patching",
		"allowed_mentions": o{"parse": []string{}, "users": []string{"3"}},
		"embeds": []o{{"title": "t", "description": "d", "color": 255, "timestamp": "2026-11-23T03:00:00Z", "url": "https://10.0.0.1:3000/x",
			"footer": o{"text": "f"}, "author": o{"name": "a"}, "fields": []o{{"name": "n", "value": "v", "inline": true}}}},
		"components": []o{row(button("Runbook", "https://a.example/r"), button("Run", "discord://-/x"))},
	}
	w := post(t, s, asking, body)
	var back struct {
		ID, Content string
		Embeds      []struct{ Type, Title string }
		Components  []any
	}
	if err := json.Unmarshal(w.Body.Bytes(), &back); err != nil || w.Code != 200 || len(back.Embeds) != 1 || back.Embeds[0].Type != "rich" || len(back.Components) != 1 {
		t.Errorf("%d %s: %v", w.Code, w.Body, err)
	}
	if w := post(t, s, path, body); w.Code != 204 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := post(t, s, path, o{"content": "<@1> @here"}); w.Code != 204 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	all := s.Messages()
	if len(all) != 3 || all[0].ID != back.ID || all[0].ID == all[1].ID {
		t.Fatalf("%+v", all)
	}
	want := Message{
		ID: all[0].ID, Time: all[0].Time, Raw: all[0].Raw, Version: 10, UserAgent: "test", Username: "patching",
		Content: "hello @everyone <@1> <@&2> <@3>", Pings: []string{"<@3>"},
		Embeds: []Embed{{Title: "t", Description: "d", URL: "https://10.0.0.1:3000/x", Color: 255, Timestamp: "2026-11-23T03:00:00Z",
			Footer: "f", Author: "a", Fields: []Field{{"n", "v", true}}}},
		Buttons: []Button{{"Runbook", "https://a.example/r"}, {"Run", "discord://-/x"}},
	}
	if !reflect.DeepEqual(all[0], want) {
		t.Errorf("kept\n%+v, want\n%+v", all[0], want)
	}
	if all[1].Buttons != nil || !all[1].Ignored {
		t.Errorf("components that nobody asked for: %+v", all[1])
	}
	if !reflect.DeepEqual(all[2].Pings, []string{"<@1>"}) { // the default of webhooks
		t.Errorf("pings: %q", all[2].Pings)
	}
	text := "hello @everyone <@1> <@&2> <@3>\na\nt\nd\nn\nv\nf\nRunbook https://a.example/r\nRun discord://-/x"
	if got := all[0].Text(); got != text {
		t.Errorf("text: %q", got)
	}
	var logged []Message
	for line := range strings.Lines(log.String()) {
		var m Message
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		logged = append(logged, m)
	}
	if !reflect.DeepEqual(logged, all) {
		t.Errorf("the log has\n%+v, want\n%+v", logged, all)
	}
}

func TestMultipart(t *testing.T) {
	s := &Server{ID: "7", Token: "secret"}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	form.WriteField("payload_json", `{"content":"a"}`)
	file, _ := form.CreateFormFile("files[0]", "report.html")
	file.Write([]byte("<p>"))
	form.Close()
	if w := do(s, request("POST", path, form.FormDataContentType(), &body)); w.Code != 204 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if m := s.Messages()[0]; m.Content != "a" || !reflect.DeepEqual(m.Files, []string{"report.html"}) {
		t.Errorf("%+v", m)
	}
}

// A picture of an embed that is a file of the message has to be one, and to be a picture.
func TestAttachment(t *testing.T) {
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		part, name, content, link string
		code                      int
	}{
		{"files[0]", "a.png", picture.String(), "attachment://a.png", 204},
		{"files[0]", "a.png", picture.String(), "attachment://b.png", 400},
		{"files[0]", "a.png", "text", "attachment://a.png", 400},
		{"file", "a.png", picture.String(), "attachment://a.png", 400},
	} {
		s := &Server{ID: "7", Token: "secret"}
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		form.WriteField("payload_json", `{"embeds":[{"title":"a","image":{"url":"`+c.link+`"}}]}`)
		file, _ := form.CreateFormFile(c.part, c.name)
		file.Write([]byte(c.content))
		form.Close()
		if w := do(s, request("POST", path, form.FormDataContentType(), &body)); w.Code != c.code {
			t.Errorf("%+v: %d %s", c, w.Code, w.Body)
		}
	}
}

// Five requests in two seconds, whatever came of them; then 429 until the two seconds are over.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{ID: "7", Token: "secret"}
		for i := range WebhookRate {
			w := post(t, s, path, o{"content": x(2000 + i%2)}) // every other one is refused
			h := w.Header()
			if w.Code != 204+196*(i%2) || h.Get("X-RateLimit-Limit") != "5" || h.Get("X-RateLimit-Remaining") != fmt.Sprint(4-i) ||
				h.Get("X-RateLimit-Reset-After") != fmt.Sprintf("%.3f", 2-0.1*float64(i)) || h.Get("X-RateLimit-Bucket") == "" {
				t.Errorf("%d: %d %v", i, w.Code, h)
			}
			time.Sleep(100 * time.Millisecond)
		}
		w := post(t, s, path, o{"content": "a"})
		if got := strings.TrimSpace(w.Body.String()); w.Code != 429 || got != `{"global":false,"message":"You are being rate limited.","retry_after":1.5}` {
			t.Errorf("%d %s", w.Code, got)
		}
		if h := w.Header(); h.Get("Retry-After") != "2" || h.Get("X-RateLimit-Scope") != "user" || h.Get("X-RateLimit-Remaining") != "0" || h.Get("X-RateLimit-Global") != "" {
			t.Errorf("%v", h)
		}
		old := post(t, s, "/api/webhooks/7/secret", o{"content": "a"})
		if h := old.Header(); old.Code != 429 || h.Get("Retry-After") != "1500" || !strings.Contains(old.Body.String(), `"retry_after":1500}`) {
			t.Errorf("version 6: %d %s %v", old.Code, old.Body, h)
		}
		time.Sleep(1500 * time.Millisecond)
		if w := post(t, s, path, o{"content": "a"}); w.Code != 204 {
			t.Errorf("after the wait: %d", w.Code)
		}
	})
}

// Thirty messages a minute in a channel, which no header announces.
func TestChannelRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{ID: "7", Token: "secret"}
		send := func() *httptest.ResponseRecorder {
			time.Sleep(time.Second)
			return post(t, s, path, o{"content": "a"})
		}
		for i := range ChannelRate {
			if w := send(); w.Code != 204 {
				t.Fatalf("message %d: %d", i, w.Code)
			}
		}
		w := send()
		if h := w.Header(); w.Code != 429 || h.Get("X-RateLimit-Scope") != "shared" || h.Get("Retry-After") != "30" || h.Get("X-RateLimit-Remaining") == "0" {
			t.Errorf("%d %v", w.Code, h)
		}
		time.Sleep(30 * time.Second)
		if w := send(); w.Code != 204 {
			t.Errorf("a minute later: %d", w.Code)
		}
		s.NoChannelRate = true
		for range ChannelRate + 1 {
			if w := send(); w.Code != 204 {
				t.Fatalf("without the limit: %d", w.Code)
			}
		}
	})
}

func TestGlobalRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{ID: "7", Token: "secret"}
		for range GlobalRate {
			do(s, request("GET", path, "", nil))
		}
		w := post(t, s, path, o{"content": "a"})
		h := w.Header()
		if w.Code != 429 || h.Get("X-RateLimit-Global") != "true" || h.Get("X-RateLimit-Scope") != "global" || h.Get("X-RateLimit-Limit") != "" ||
			!strings.Contains(w.Body.String(), `"global":true`) {
			t.Errorf("%d %s %v", w.Code, w.Body, h)
		}
		time.Sleep(time.Second)
		if w := post(t, s, path, o{"content": "a"}); w.Code != 204 {
			t.Errorf("a second later: %d", w.Code)
		}
	})
}
