package notify

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bwmarrin/discordgo"
)

// Limits of Discord: https://docs.discord.com/developers/resources/message#embed-object-embed-limits and
// https://docs.discord.com/developers/components/reference#button
const (
	discordTitle       = 256
	discordDescription = 4096
	discordFields      = 25
	discordFieldName   = 256
	discordFieldValue  = 1024
	discordFooter      = 100  // of 2048: it is an id
	discordEmbed       = 6000 // title, description, fields and footer together
	discordButtons     = 5    // in one row
	discordLabel       = 80
	discordURL         = 512

	// https://docs.discord.com/developers/reference#uploading-files takes 10 MiB in all. A picture has less, so that the outbox,
	// which keeps it with its message, stays small.
	discordImage = 256 << 10
	// Its name may have letters, digits, dashes and dots, and ends as the sort of picture that it is:
	// https://docs.discord.com/developers/reference#editing-message-attachments-using-attachments-within-embeds
	discordImageName = "timeline.png"
)

// What of an embed the parts may take, so that a long text leaves room for the facts, and the other way round.
const (
	discordText = 2500
	discordCode = 1200
	discordLast = 60 // kept free for the field that says how many are missing
)

// Discord posts to a webhook of a channel.
type Discord struct {
	// Webhook is its URL: https://HOST/api/webhooks/ID/TOKEN, with a version after api or without.
	Webhook Secret
}

// webhook is what the URL of a webhook says.
type webhook struct {
	base      *url.URL // scheme and host
	id, token string
}

// CheckWebhook returns an error, which does not quote it, for what is no URL of a webhook.
func CheckWebhook(s Secret) error {
	_, err := parseWebhook(s)
	return err
}

func parseWebhook(s Secret) (webhook, error) {
	u, err := url.Parse(s.Reveal())
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return webhook{}, fmt.Errorf("it is not a URL like https://discord.com/api/webhooks/ID/TOKEN")
	}
	found := regexp.MustCompile(`^/api/(?:v\d+/)?webhooks/(\d+)/([\w.-]+)/?$`).FindStringSubmatch(u.Path)
	if found == nil {
		return webhook{}, fmt.Errorf("its path is not /api/webhooks/ID/TOKEN: copy it anew from the channel's settings")
	}
	return webhook{&url.URL{Scheme: u.Scheme, Host: u.Host}, found[1], found[2]}, nil
}

// Notify implements [Notifier].
func (d *Discord) Notify(ctx context.Context, m Message) error {
	hook, err := parseWebhook(d.Webhook)
	if err != nil {
		return &Error{Channel: "discord", Fault: Settings, Reason: "the webhook's URL cannot be used: " + err.Error()}
	}
	// A session an attempt: one that is kept waits for rate limits on its own, deaf to ctx, and this is how nothing is
	// left of the last attempt. Whether it worked is what the answer says: discordgo's errors hold the token.
	c := client()
	far := &discordTransport{base: hook.base, next: c.Transport}
	c.Transport = far
	session, err := discordgo.New("")
	if err != nil {
		return &Error{Channel: "discord", Fault: Content, Reason: "discordgo does not start"}
	}
	session.Client = c
	params, err := discordPayload(m, time.Now())
	if err != nil {
		return &Error{Channel: "discord", Fault: Content, Reason: err.Error()}
	}
	// With wait, a message that was not kept is an error: https://docs.discord.com/developers/resources/webhook#execute-webhook
	_, err = session.WebhookExecute(hook.id, hook.token, true, params,
		discordgo.WithContext(ctx), discordgo.WithRetryOnRatelimit(false), discordgo.WithRestRetries(0),
		func(c *discordgo.RequestConfig) {
			q := c.Request.URL.Query()
			q.Set("with_components", "true") // without it the buttons of a plain webhook are left out
			c.Request.URL.RawQuery = q.Encode()
		})
	switch {
	case far.answer == nil && err != nil:
		return unanswered(ctx, "discord", err, d.Webhook, Secret(hook.token))
	case far.answer == nil:
		return &Error{Channel: "discord", Fault: FarEnd, Reason: "there was no answer"}
	case far.answer.StatusCode/100 == 2:
		return nil // whatever discordgo thinks of the rest of the answer
	}
	failed := answered("discord", far.answer, "")
	if limit, ok := err.(*discordgo.RateLimitError); ok && limit.RetryAfter > 0 {
		failed.RetryAfter = seconds(limit.RetryAfter.Seconds()) // the header has whole seconds only
	}
	if rest, ok := err.(*discordgo.RESTError); ok && rest.Message != nil && rest.Message.Message != "" {
		failed.Reason += fmt.Sprintf(": %s (code %d)", cut(line(hide(rest.Message.Message, d.Webhook, Secret(hook.token))), 200, units), rest.Message.Code)
	}
	return failed
}

// discordTransport sends what is meant for Discord to the host of the setting, and remembers the answer.
type discordTransport struct {
	base   *url.URL
	next   http.RoundTripper
	answer *http.Response
}

func (t *discordTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Scheme, req.URL.Host, req.Host = t.base.Scheme, t.base.Host, t.base.Host
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	t.answer = resp
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, answerLimit), resp.Body}
	return resp, nil
}

// Payload returns what would be sent.
func (d *Discord) Payload(m Message) ([]byte, error) {
	params, err := discordPayload(m, time.Now())
	if err != nil {
		return nil, err
	}
	return plainJSON(params)
}

// discordPayload makes one embed, with a row of buttons below it.
func discordPayload(m Message, now time.Time) (*discordgo.WebhookParams, error) {
	if m.Time.IsZero() {
		m.Time = now
	}
	links := reachable(m.Links, discordURL)
	buttons := slices.DeleteFunc(slices.Clone(links), func(l Link) bool { return !named(l.URL) })
	embed := &discordgo.MessageEmbed{
		Title:       cut(escape(line(m.Title)), discordTitle, units),
		Description: discordBody(m, links, now),
		Timestamp:   m.Time.UTC().Format(time.RFC3339),
		Color:       discordColor(m.Level),
	}
	if m.Ref != "" {
		embed.Footer = &discordgo.MessageEmbedFooter{Text: cut(line(m.Ref), discordFooter, units)}
	}
	discordFacts(embed, m.Fields)
	var files []*discordgo.File
	if len(m.Image) > 0 && len(m.Image) <= discordImage {
		embed.Image = &discordgo.MessageEmbedImage{URL: "attachment://" + discordImageName}
		files = []*discordgo.File{{Name: discordImageName, ContentType: "image/png", Reader: bytes.NewReader(m.Image)}}
	}
	if embed.Title == "" && embed.Description == "" && len(embed.Fields) == 0 {
		return nil, fmt.Errorf("the message is empty")
	}
	p := &discordgo.WebhookParams{
		Embeds:          []*discordgo.MessageEmbed{embed},
		Files:           files,
		AllowedMentions: &discordgo.MessageAllowedMentions{Parse: []discordgo.AllowedMentionType{}},
		Components:      []discordgo.MessageComponent{},
	}
	if m.Level <= Quiet {
		p.Flags = discordgo.MessageFlagsSuppressNotifications
	}
	var row discordgo.ActionsRow
	for i, l := range buttons {
		if i < discordButtons {
			row.Components = append(row.Components,
				discordgo.Button{Label: cut(l.Label, discordLabel, units), Style: discordgo.LinkButton, URL: l.URL})
		}
	}
	if len(row.Components) > 0 {
		p.Components = append(p.Components, row)
	}
	return p, nil
}

// named reports whether Discord takes a URL for a button: one whose host has no dot, such as http://grafana:3000, makes
// it refuse the whole message. That is not documented; others have met it:
// https://github.com/bugsink/bugsink/issues/280
func named(link string) bool {
	u, err := url.Parse(link)
	return err == nil && strings.ContainsAny(strings.Trim(u.Hostname(), "."), ".:")
}

// discordBody is the text, the code and the links, each within its share.
func discordBody(m Message, links []Link, now time.Time) string {
	var parts []string
	for _, s := range []string{m.delay(now), m.Text} {
		if s = strings.TrimSpace(escape(tidy(s))); s != "" {
			parts = append(parts, cut(s, discordText, units))
		}
	}
	if code := strings.TrimSpace(tidy(m.Code)); code != "" {
		// Nothing in a code block is markup but its end: a zero-width space keeps that from being written.
		code = strings.ReplaceAll(code, "`", "`\u200b")
		parts = append(parts, "```\n"+cut(code, discordCode, units)+"\n```")
	}
	// The same links as the buttons, for whoever reads where there are none.
	var list []string
	room := discordDescription - units(strings.Join(parts, "\n\n")) - 2
	for _, l := range links {
		s := "[" + escape(cut(l.Label, discordLabel, units)) + "](<" + l.URL + ">)"
		if room -= units(s) + 3; room >= 0 {
			list = append(list, s)
		}
	}
	if len(list) > 0 {
		parts = append(parts, strings.Join(list, " · "))
	}
	return cut(strings.Join(parts, "\n\n"), discordDescription, units)
}

// discordFacts adds as many fields as there is room for, and says how many are missing.
func discordFacts(embed *discordgo.MessageEmbed, fields []Field) {
	room := discordEmbed - units(embed.Title) - units(embed.Description) - discordLast
	if embed.Footer != nil {
		room -= units(embed.Footer.Text)
	}
	var good []Field
	for _, f := range fields {
		if f = (Field{line(f.Name), strings.TrimSpace(tidy(f.Value))}); f.Name != "" && f.Value != "" {
			good = append(good, f)
		}
	}
	for i, f := range good {
		name := cut(escape(f.Name), discordFieldName, units)
		value := cut(escape(f.Value), discordFieldValue, units)
		last := len(good) - i
		if room -= units(name) + units(value); room < 0 || i == discordFields-1 && last > 1 {
			embed.Fields = append(embed.Fields, &discordgo.MessageEmbedField{Name: fmt.Sprintf("and %d more", last), Value: "…"})
			return
		}
		embed.Fields = append(embed.Fields, &discordgo.MessageEmbedField{Name: name, Value: value})
	}
}

// escape takes the meaning from what Discord would read as markup or as a mention.
// https://support.discord.com/hc/en-us/articles/210298617
func escape(s string) string {
	var b strings.Builder
	start := true // of a line
	for _, r := range s {
		switch {
		case strings.ContainsRune("\\*_~`|<>[]#", r), start && strings.ContainsRune("-+", r):
			b.WriteByte('\\')
		case r == '@': // @everyone needs no brackets
			b.WriteString("@\u200b")
			start = false
			continue
		}
		b.WriteRune(r)
		start = r == '\n' || start && (r == ' ' || r == '\t')
	}
	return strings.ReplaceAll(b.String(), "://", ":\u200b//") // a URL of a host's is no link of ours
}

func discordColor(l Level) int {
	switch {
	case l >= Critical:
		return 0xd83c3e // red
	case l == Warning:
		return 0xe67e22 // orange
	case l == Success:
		return 0x2ecc71 // green
	case l == Info:
		return 0x3498db // blue
	}
	return 0x95a5a6 // grey
}
