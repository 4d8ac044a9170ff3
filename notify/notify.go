// Package notify tells people: a message goes to Discord and to ntfy, and stays on disk until it is there.
//
//	box := notify.Outbox{Dir: dir, Channels: []notify.Channel{
//		{Name: "discord", Notifier: &notify.Discord{Webhook: url}},
//		{Name: "ntfy", Notifier: &notify.Ntfy{URL: server, Topic: topic, Token: token}},
//	}}
//	err := box.Put(m, "discord", "ntfy")  // on disk: it will arrive
//	results := box.Flush(ctx)             // try now; what fails is tried by the next Flush
//
// # What it guarantees
//
// A [Notifier] makes one attempt and says in its [*Error] whether another may help. [Retry] is the only place that
// waits for a second one. Channels are tried side by side, and none stops another.
//
// A message that [Outbox.Put] has accepted is delivered at least once, or counted as dropped. It arrives twice only
// where the answer of the far end was lost: both carry the same reference, so that people see it.
//
// Limits of the vendors are kept by cutting at a character, and what was cut says so. Nothing in a message is taken for
// markup or mentions anybody.
//
// # Secrets
//
// A [Secret] prints as <redacted>. No error holds a URL that has a token in it.
//
// # What it does not do
//
// It knows nothing of patching, does not decide who hears of what, and starts no process.
package notify

import (
	"context"
	"time"
)

// Notifier is a channel's far end. Notify makes one attempt and returns when it is over or ctx ends. The error is an
// [*Error].
type Notifier interface {
	Notify(ctx context.Context, m Message) error
}

// Message is what people are told. Its texts are plain: whatever is markup to a channel is shown as it is.
type Message struct {
	// ID tells messages apart; the same when one is delivered again. [Outbox.Put] sets an empty one.
	ID string `json:"id"`
	// Ref is what the message is about, such as the id of a run. It is shown in every message that has one.
	Ref string `json:"ref,omitempty"`
	// Time is when it happened. A message that arrives much later says so. Zero: now.
	Time time.Time `json:"time"`
	// Level says how loud it is; zero is [Info].
	Level Level `json:"level"`
	// Title is one line.
	Title string `json:"title"`
	// Text is what happened, in lines. May be empty.
	Text string `json:"text,omitempty"`
	// Fields are named facts, in order. One that has no name or no value is left out.
	Fields []Field `json:"fields,omitempty"`
	// Code is shown as it is, in letters of one width: output of a host. May be empty.
	Code string `json:"code,omitempty"`
	// Image is a picture, as PNG, that a channel may show. Its words are nowhere else missing. May be nil; one that is too large
	// for a channel is left out.
	Image []byte `json:"image,omitempty"`
	// Links lead further, the most useful one first. One without a label, or whose URL is not http, is left out.
	Links []Link `json:"links,omitempty"`
	// Expires is when the message is no longer worth delivering; zero: when the outbox says so.
	Expires time.Time `json:"expires,omitzero"`
}

// Field is one named fact.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Link is a button, or a link in the text.
type Link struct {
	Label string `json:"label"`
	URL   string `json:"url"`
}

// Level says how loud a message is.
type Level int

// Levels. Each is louder than the one before.
const (
	Quiet    Level = iota - 1 // shown, and wakes nobody
	Info                      // worth knowing
	Success                   // it went well
	Warning                   // somebody should look
	Critical                  // somebody must look
)

// late is how long after it happened a message says when that was.
const late = 2 * time.Minute

// delay is a line that says when something happened that arrives late; empty if it does not.
func (m Message) delay(now time.Time) string {
	if m.Time.IsZero() || now.Sub(m.Time) < late {
		return ""
	}
	return "Delivered late: this happened at " + m.Time.UTC().Format("2006-01-02 15:04 UTC") + "."
}
