package discord

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Message is one that the stand-in took, as its readers see it.
type Message struct {
	ID        string    `json:"id"`
	Time      time.Time `json:"time"` // when it had come in
	Version   int       `json:"version"`
	UserAgent string    `json:"user_agent"`
	Username  string    `json:"username,omitempty"`
	Content   string    `json:"content,omitempty"`
	Embeds    []Embed   `json:"embeds,omitempty"`
	Buttons   []Button  `json:"buttons,omitempty"` // none if the request did not ask for components
	Ignored   bool      `json:"ignored,omitempty"` // it had components, and did not ask for them
	Pings     []string  `json:"pings,omitempty"`   // the mentions in it that notify people
	Flags     int64     `json:"flags,omitempty"`
	Files     []string  `json:"files,omitempty"` // names
	// Raw is the whole body; of a multipart one its payload_json.
	Raw json.RawMessage `json:"raw"`
}

// Embed is a rich embed.
type Embed struct {
	Title       string  `json:"title,omitempty"`
	Description string  `json:"description,omitempty"`
	URL         string  `json:"url,omitempty"`
	Color       int64   `json:"color,omitempty"`
	Timestamp   string  `json:"timestamp,omitempty"`
	Footer      string  `json:"footer,omitempty"`
	Author      string  `json:"author,omitempty"`
	Fields      []Field `json:"fields,omitempty"`
	Image       string  `json:"image,omitempty"` // its URL
}

// Field is a field of an embed.
type Field struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Inline bool   `json:"inline,omitempty"`
}

// Button is a link button.
type Button struct {
	Label string `json:"label"`
	URL   string `json:"url"`
}

// Text is all that a reader of the message reads, one piece a line.
func (m Message) Text() string {
	all := []string{m.Content}
	for _, e := range m.Embeds {
		all = append(all, e.Author, e.Title, e.Description)
		for _, f := range e.Fields {
			all = append(all, f.Name, f.Value)
		}
		all = append(all, e.Footer)
	}
	for _, b := range m.Buttons {
		all = append(all, b.Label+" "+b.URL)
	}
	return strings.Join(slices.DeleteFunc(all, func(s string) bool { return s == "" }), "\n")
}

const (
	suppressEmbeds        = 1 << 2
	suppressNotifications = 1 << 12
	componentsV2          = 1 << 15
)

var web = []string{"http", "https"}

// read checks a body and makes a message of it. components is whether the request asked for them.
func read(body object, components bool, files []string) (Message, *refusal) {
	f := &form{errors: formErrors{}, files: files}
	m := Message{
		Content:  f.text(body, MaxContent, "content"),
		Username: f.text(body, MaxUsername, "username"),
		Flags:    f.integer(body, 0, 1<<31-1, "flags"),
		Files:    files,
	}
	f.username(body)
	f.link(body, MaxLink, web, "avatar_url")
	f.boolean(body, "tts")
	if m.Flags&^(suppressEmbeds|suppressNotifications|componentsV2) != 0 {
		f.errors.add("BASE_TYPE_CHOICES", "Only SUPPRESS_EMBEDS, SUPPRESS_NOTIFICATIONS and IS_COMPONENTS_V2 can be set.", "flags")
	}
	m.Embeds = f.embeds(body)
	rows := f.list(body, 1<<20, "components")
	if components {
		m.Buttons = f.rows(body)
	} else {
		m.Ignored = len(rows) > 0
	}
	allowed := f.mentions(body)
	m.Pings = pings(m.Content, allowed)
	if len(f.errors) > 0 {
		return m, &refusal{status: 400, code: codeInvalidForm, message: "Invalid Form Body", form: f.errors}
	}
	switch {
	case m.Flags&componentsV2 != 0:
		return m, &refusal{status: 501, message: "the stand-in does not know components V2"}
	case body["poll"] != nil:
		return m, &refusal{status: 501, message: "the stand-in does not know polls"}
	case body["thread_name"] != nil:
		return m, &refusal{status: 400, code: codeNotForum, message: "Webhooks can only create threads in forum channels"}
	case strings.TrimSpace(m.Content) == "" && len(m.Embeds) == 0 && len(m.Buttons) == 0 && len(files) == 0:
		return m, &refusal{status: 400, code: codeEmpty, message: "Cannot send an empty message"}
	}
	return m, nil
}

// username checks the name that a message is sent under:
// https://docs.discord.com/developers/resources/webhook#create-webhook and
// https://docs.discord.com/developers/resources/user#usernames-and-nicknames
func (f *form) username(body object) {
	name, ok := body["username"].(string)
	if !ok {
		return
	}
	if strings.TrimSpace(name) == "" {
		f.errors.badLength(1, MaxUsername, "username")
	}
	lower := strings.ToLower(name)
	for _, word := range []string{"clyde", "discord"} {
		if strings.Contains(lower, word) {
			f.errors.add("USERNAME_INVALID_CONTAINS", fmt.Sprintf("Username cannot contain %q", word), "username")
		}
	}
	if lower == "everyone" || lower == "here" {
		f.errors.add("USERNAME_INVALID", fmt.Sprintf("Username cannot be %q", lower), "username")
	}
}

func (f *form) embeds(body object) []Embed {
	var all []Embed
	total := 0
	for i, value := range f.list(body, MaxEmbeds, "embeds") {
		path := at(nil, "embeds", i)
		o := f.element(value, path...)
		if o == nil {
			continue
		}
		e := Embed{
			Title:       f.text(o, MaxTitle, at(path, "title")...),
			Description: f.text(o, MaxDescription, at(path, "description")...),
			URL:         f.link(o, MaxLink, web, at(path, "url")...),
			Color:       f.integer(o, 0, MaxColor, at(path, "color")...),
			Timestamp:   f.timestamp(o, at(path, "timestamp")...),
		}
		if footer := f.member(o["footer"], at(path, "footer")...); footer != nil {
			e.Footer = f.filled(footer, MaxFooter, at(path, "footer", "text")...)
			f.picture(footer, "icon_url", at(path, "footer")...)
		}
		if author := f.member(o["author"], at(path, "author")...); author != nil {
			e.Author = f.filled(author, MaxAuthor, at(path, "author", "name")...)
			f.link(author, MaxLink, web, at(path, "author", "url")...)
			f.picture(author, "icon_url", at(path, "author")...)
		}
		pictures := 0
		for _, name := range []string{"image", "thumbnail"} {
			if picture := f.member(o[name], at(path, name)...); picture != nil {
				link := f.picture(picture, "url", at(path, name)...)
				if name == "image" {
					e.Image = link
				}
				pictures++
			}
		}
		for j, value := range f.list(o, MaxFields, at(path, "fields")...) {
			in := at(path, "fields", j)
			field := f.element(value, in...)
			if field == nil {
				continue
			}
			e.Fields = append(e.Fields, Field{
				Name:   f.filled(field, MaxFieldName, at(in, "name")...),
				Value:  f.filled(field, MaxFieldValue, at(in, "value")...),
				Inline: f.boolean(field, at(in, "inline")...),
			})
		}
		if strings.TrimSpace(e.Title+e.Description) == "" && e.Footer == "" && e.Author == "" && len(e.Fields) == 0 && pictures == 0 {
			f.errors.required(at(path, "description")...)
		}
		total += e.size()
		all = append(all, e)
	}
	if total > MaxEmbedText {
		f.errors.add("MAX_EMBED_SIZE_EXCEEDED", fmt.Sprintf("Embed size exceeds maximum size of %d", MaxEmbedText), "embeds")
	}
	return all
}

// picture checks the link to one, which may also be a file of the same message. One that is not there is shown as nothing by
// Discord, which takes the message; the stand-in refuses it, because whoever sent it meant something else.
// https://docs.discord.com/developers/reference#editing-message-attachments-using-attachments-within-embeds
func (f *form) picture(o object, name string, path ...string) string {
	link := f.link(o, MaxLink, []string{"http", "https", "attachment"}, at(path, name)...)
	if file, ok := strings.CutPrefix(link, "attachment://"); ok && !slices.Contains(f.files, file) {
		f.errors.add("URL_TYPE_INVALID_URL", "The message has no file of that name.", at(path, name)...)
	}
	return link
}

// size is what an embed adds to the sum of all.
func (e Embed) size() int {
	n := length(e.Title) + length(e.Description) + length(e.Footer) + length(e.Author)
	for _, f := range e.Fields {
		n += length(f.Name) + length(f.Value)
	}
	return n
}

// rows checks components as they are without IS_COMPONENTS_V2: rows of buttons. A webhook that no application owns
// "cannot send interactive components", so that each button is one with a link. What the API says to another is not
// documented: those words are our own.
func (f *form) rows(body object) []Button {
	var all []Button
	rows := f.list(body, 1<<20, "components")
	if len(rows) > MaxRows {
		f.errors.badLength(1, MaxRows, "components")
	}
	for i, value := range rows {
		path := at(nil, "components", i)
		row := f.member(value, path...)
		if row == nil || fmt.Sprint(row["type"]) != "1" {
			f.errors.add("UNION_TYPE_CHOICES", `Value of field "type" must be one of (1,).`, at(path, "type")...)
			continue
		}
		buttons := f.list(row, 1<<20, at(path, "components")...)
		if len(buttons) == 0 || len(buttons) > MaxButtons {
			f.errors.badLength(1, MaxButtons, at(path, "components")...)
		}
		for j, value := range buttons {
			in := at(path, "components", j)
			b := f.member(value, in...)
			if b == nil || fmt.Sprint(b["type"]) != "2" || fmt.Sprint(b["style"]) != "5" {
				f.errors.add("COMPONENT_TYPE_INVALID", "Webhooks that no application owns cannot send interactive components.", in...)
				continue
			}
			if b["custom_id"] != nil {
				f.errors.add("BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE", "A custom id and url cannot both be specified", at(in, "custom_id")...)
			}
			link := Button{
				Label: f.text(b, MaxLabel, at(in, "label")...),
				URL:   f.link(b, MaxButtonURL, []string{"http", "https", "discord"}, at(in, "url")...),
			}
			if link.URL == "" {
				f.errors.required(at(in, "url")...)
			}
			if strings.TrimSpace(link.Label) == "" && b["emoji"] == nil {
				f.errors.required(at(in, "label")...)
			}
			all = append(all, link)
		}
	}
	return all
}

// allowed says which mentions in a text notify people.
type allowed struct{ parse, users, roles []string }

func (f *form) mentions(body object) allowed {
	o := f.member(body["allowed_mentions"], "allowed_mentions")
	if o == nil {
		return allowed{parse: []string{"users"}} // the default of webhooks
	}
	texts := func(name string, limit int) (all []string) {
		for i, value := range f.list(o, limit, "allowed_mentions", name) {
			s, ok := value.(string)
			if known := slices.Contains([]string{"users", "roles", "everyone"}, s); !ok || name == "parse" && !known {
				f.errors.add("BASE_TYPE_CHOICES", "Value must be one of ('users', 'roles', 'everyone').", at(nil, "allowed_mentions", name, i)...)
			}
			all = append(all, s)
		}
		return all
	}
	a := allowed{texts("parse", 3), texts("users", MaxMentions), texts("roles", MaxMentions)}
	for name, ids := range map[string][]string{"users": a.users, "roles": a.roles} {
		if slices.Contains(a.parse, name) && len(ids) > 0 {
			f.errors.add("MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
				fmt.Sprintf(`parse:["%s"] and %s: [ids...] are mutually exclusive.`, name, name), "allowed_mentions")
		}
	}
	return a
}

var mention = regexp.MustCompile(`@everyone|@here|<@(&|!?)([0-9]+)>`)

// pings lists the mentions in a text that notify people. Those in embeds never do.
func pings(text string, a allowed) (all []string) {
	for _, found := range mention.FindAllStringSubmatch(text, -1) {
		kind, ids := "everyone", []string(nil)
		switch {
		case found[1] == "&":
			kind, ids = "roles", a.roles
		case found[2] != "":
			kind, ids = "users", a.users
		}
		if slices.Contains(a.parse, kind) || slices.Contains(ids, found[2]) {
			all = append(all, found[0])
		}
	}
	return all
}
