package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"
)

// Limits of ntfy: https://docs.ntfy.sh/publish/#limitations, and what a server of 2.11 answered.
const (
	ntfyMessage = 4095 // bytes; more becomes an attachment, or is refused
	ntfyBody    = 8000 // bytes of JSON, a little under the 8 KiB at which the server refuses
	ntfyTitle   = 250  // bytes; ours: none is documented, phones show less
	ntfyActions = 3
	ntfyURL     = 1024 // bytes of a link; ours, so that three fit into the body
)

// Ntfy publishes to a topic of an ntfy server, as JSON: https://docs.ntfy.sh/publish/#publish-as-json
type Ntfy struct {
	URL   string // of the server, without the topic
	Topic Secret // who knows it can read it, unless the server asks for more
	Token Secret // access token; empty for none
}

type ntfyPayload struct {
	Topic    string       `json:"topic"`
	Title    string       `json:"title"`
	Message  string       `json:"message"`
	Priority int          `json:"priority"`
	Tags     []string     `json:"tags,omitempty"`
	Click    string       `json:"click,omitempty"`
	Actions  []ntfyAction `json:"actions,omitempty"`
}

type ntfyAction struct {
	Action string `json:"action"`
	Label  string `json:"label"`
	URL    string `json:"url"`
}

// Notify implements [Notifier].
func (n *Ntfy) Notify(ctx context.Context, m Message) error {
	body, err := n.payload(m, time.Now())
	if err != nil {
		return &Error{Channel: "ntfy", Fault: Content, Reason: hide(err.Error(), n.Topic, n.Token)}
	}
	resp, said, err := post(ctx, Secret(strings.TrimRight(n.URL, "/")+"/"), n.Token, body)
	if err != nil {
		return unanswered(ctx, "ntfy", err, n.Topic, n.Token)
	}
	if resp.StatusCode/100 == 2 {
		return nil
	}
	var why struct {
		Code  int    `json:"code"`
		Error string `json:"error"`
	}
	_ = json.Unmarshal(said, &why) // an answer that is no JSON says nothing
	return answered("ntfy", resp, cut(line(hide(why.Error, n.Topic, n.Token)), 200, octets))
}

// Payload returns what would be sent, with the topic hidden.
func (n *Ntfy) Payload(m Message) ([]byte, error) {
	shown := *n
	shown.Topic = redacted
	return shown.payload(m, time.Now())
}

func (n *Ntfy) payload(m Message, now time.Time) ([]byte, error) {
	p := ntfyPayload{Topic: n.Topic.Reveal(), Title: cut(line(m.Title), ntfyTitle, octets)}
	p.Priority, p.Tags = ntfyLevel(m.Level)
	for i, l := range reachable(m.Links, ntfyURL) {
		if i == 0 {
			p.Click = l.URL
		}
		if i < ntfyActions {
			p.Actions = append(p.Actions, ntfyAction{"view", cut(l.Label, 40, octets), l.URL})
		}
	}
	whole := ntfyText(m, now)
	for limit := ntfyMessage; ; {
		p.Message = cut(whole, limit, octets)
		body, err := plainJSON(p)
		over := len(body) - ntfyBody
		switch {
		case err != nil || over <= 0:
			return body, err
		case limit > ntfyMessage/4: // escapes have made it longer: every byte left out saves one or more
			limit = len(p.Message) - max(over/6, 1)
		case len(p.Actions) > 0:
			p.Actions = p.Actions[:len(p.Actions)-1]
		default:
			p.Click, limit = "", limit/2
		}
	}
}

// ntfyText is everything but the title, in lines.
func ntfyText(m Message, now time.Time) string {
	var parts []string
	for _, s := range []string{m.delay(now), m.Text} {
		if s = strings.TrimSpace(tidy(s)); s != "" {
			parts = append(parts, s)
		}
	}
	var facts []string
	for _, f := range m.Fields {
		if name, value := line(f.Name), strings.TrimSpace(tidy(f.Value)); name != "" && value != "" {
			facts = append(facts, name+": "+value)
		}
	}
	if m.Ref != "" {
		facts = append(facts, "Run: "+line(m.Ref))
	}
	if len(facts) > 0 {
		parts = append(parts, strings.Join(facts, "\n"))
	}
	if code := strings.TrimSpace(tidy(m.Code)); code != "" {
		parts = append(parts, code)
	}
	return strings.Join(parts, "\n\n")
}

// ntfyLevel returns the priority, https://docs.ntfy.sh/publish/#message-priority, and the tag that is shown as an emoji.
func ntfyLevel(l Level) (int, []string) {
	switch {
	case l >= Critical:
		return 5, []string{"rotating_light"}
	case l == Warning:
		return 4, []string{"warning"}
	case l == Success:
		return 3, []string{"white_check_mark"}
	case l == Info:
		return 3, []string{"information_source"}
	}
	return 1, nil
}

// plainJSON is JSON in which < is one byte and not six.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}
