// Package discord is a stand-in for Discord's webhooks in tests that must not leave the machine. It is as strict as the
// vendor's documentation, and keeps what it took.
//
//	server := &discord.Server{ID: "1", Token: "secret"}
//	front := &discord.Front{Address: "127.0.0.1:8090", Handler: server, Answer: discord.Answer}
//	err := front.Open()
//
// A [Server] answers as Discord does: limits, rates, error codes and their words. A [Front] is where it is reached, and
// breaks when it is told to. The same front stands before any other server, see [Proxy]. [Control] is for the test: what
// was taken, how often was asked, what shall break.
//
// It is one webhook, in a channel that is no forum, and that no application owns. It does not know what the project has
// no use for: threads, polls, components V2, editing and deleting of messages.
package discord

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Server is one webhook. It may be used at once by many.
type Server struct {
	ID, Token string
	// Log gets each message that was taken, a line of JSON each, before the answer goes out. It may be nil.
	Log io.Writer
	// NoChannelRate leaves out the limit of messages a minute in a channel, for tests that send many.
	NoChannelRate bool

	mu              sync.Mutex
	messages        []Message
	number          int64
	webhook, global bucket
	channel         bucket
}

var route = regexp.MustCompile(`^/api(?:/v([0-9]+))?/webhooks/([^/]+)/([^/]+)$`)

// defaultVersion is what a URL without a version gets: https://docs.discord.com/developers/reference#api-versioning
const defaultVersion = 6

// Messages returns what was taken so far, in order.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Forget drops the messages taken so far, and starts all rates anew.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages, s.webhook, s.global, s.channel = nil, bucket{}, bucket{}, bucket{}
}

// ServeHTTP answers one request of Discord's API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	version := defaultVersion
	found := route.FindStringSubmatch(r.URL.Path)
	if found != nil && found[1] != "" {
		version, _ = strconv.Atoi(found[1])
	}
	if wait := s.take(&s.global, GlobalRate, time.Second, nil); wait > 0 {
		limited(w, version, wait, "global")
		return
	}
	no := refusal{status: http.StatusNotFound, message: "404: Not Found"}
	switch {
	case found == nil:
	case version < 6 || version > 10:
		no = refusal{status: http.StatusBadRequest, code: codeInvalidVersion, message: "Invalid API version"}
	case r.UserAgent() == "":
		// "may be blocked": https://docs.discord.com/developers/reference#user-agent
		http.Error(w, "error code: 1010", http.StatusForbidden)
		return
	case found[2] != s.ID:
		no.code, no.message = codeUnknownWebhook, "Unknown Webhook"
	case found[3] != s.Token:
		no = refusal{status: http.StatusUnauthorized, code: codeInvalidToken, message: "Invalid Webhook Token"}
	case r.Method == http.MethodGet:
		s.describe(w)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "GET, POST")
		no = refusal{status: http.StatusMethodNotAllowed, message: "405: Method Not Allowed"}
	default:
		s.execute(w, r, version)
		return
	}
	no.write(w, version)
}

// take takes a request from a bucket. It returns how long to wait if there is none left.
func (s *Server) take(b *bucket, limit int, span time.Duration, h http.Header) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	b.limit, b.span = limit, span
	ok := b.take(now)
	if h != nil {
		b.headers(h, now)
	}
	if ok {
		return 0
	}
	return b.reset.Sub(now)
}

// describe is https://docs.discord.com/developers/resources/webhook#get-webhook-with-token
func (s *Server) describe(w http.ResponseWriter) {
	answer(w, http.StatusOK, map[string]any{"id": s.ID, "type": 1, "token": s.Token, "name": "stand-in", "avatar": nil,
		"channel_id": channelID, "guild_id": channelID, "application_id": nil})
}

const channelID = "199737254929760256"

// execute is https://docs.discord.com/developers/resources/webhook#execute-webhook
func (s *Server) execute(w http.ResponseWriter, r *http.Request, version int) {
	if wait := s.take(&s.webhook, WebhookRate, WebhookTime, w.Header()); wait > 0 {
		limited(w, version, wait, "user")
		return
	}
	query := r.URL.Query()
	if query.Get("thread_id") != "" {
		refusal{status: http.StatusNotFound, code: codeUnknownChannel, message: "Unknown Channel"}.write(w, version)
		return
	}
	raw, body, files, no := body(w, r)
	var m Message
	if no == nil {
		m, no = read(body, truth(query.Get("with_components")), files)
	}
	if no != nil {
		no.write(w, version)
		return
	}
	if wait := s.takeChannel(); wait > 0 {
		limited(w, version, wait, "shared")
		return
	}
	m.Version, m.UserAgent, m.Raw = version, r.UserAgent(), raw
	if err := s.keep(&m); err != nil {
		refusal{status: http.StatusInternalServerError, message: "500: Internal Server Error"}.write(w, version)
		return
	}
	if !truth(query.Get("wait")) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(w, http.StatusOK, s.object(m, body))
}

func (s *Server) takeChannel() time.Duration {
	if s.NoChannelRate {
		return 0
	}
	return s.take(&s.channel, ChannelRate, ChannelTime, nil)
}

// keep gives a message its time and number, and makes it last.
func (s *Server) keep(m *Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	const epoch = 1420070400000 // https://docs.discord.com/developers/reference#snowflakes
	m.Time = time.Now().UTC()
	s.number++
	m.ID = strconv.FormatInt((m.Time.UnixMilli()-epoch)<<22|s.number&0xFFF, 10)
	if s.Log != nil {
		line, err := json.Marshal(m)
		if err == nil {
			_, err = s.Log.Write(append(line, '\n'))
		}
		if err != nil {
			return err
		}
	}
	s.messages = append(s.messages, *m)
	return nil
}

// object is the message as it is returned with wait=true:
// https://docs.discord.com/developers/resources/message#message-object
func (s *Server) object(m Message, body object) map[string]any {
	name := m.Username
	if name == "" {
		name = "stand-in"
	}
	embeds, _ := body["embeds"].([]any)
	for _, e := range embeds {
		e.(object)["type"] = "rich"
	}
	components, _ := body["components"].([]any)
	if m.Ignored {
		components = nil
	}
	return map[string]any{
		"id": m.ID, "type": 0, "channel_id": channelID, "webhook_id": s.ID, "content": m.Content,
		"author":      map[string]any{"id": s.ID, "username": name, "bot": true, "avatar": nil, "discriminator": "0000"},
		"attachments": []any{}, "embeds": append([]any{}, embeds...), "components": append([]any{}, components...),
		"mentions": []any{}, "mention_roles": []any{}, "mention_everyone": false, "pinned": false, "tts": false,
		"flags": m.Flags, "timestamp": m.Time.Format("2006-01-02T15:04:05.000000-07:00"), "edited_timestamp": nil,
	}
}

// truth is https://docs.discord.com/developers/reference#boolean-query-strings
func truth(value string) bool { return value == "true" || value == "True" || value == "1" }

// body reads the body of a request, of one of the types of https://docs.discord.com/developers/reference#content-type
func body(w http.ResponseWriter, r *http.Request) (json.RawMessage, object, []string, *refusal) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return nil, nil, nil, &refusal{status: http.StatusRequestEntityTooLarge, code: codeTooLarge, message: "Request entity too large"}
	}
	if err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var files []string
	switch {
	case err == nil && kind == "application/json":
	case err == nil && kind == "multipart/form-data":
		data, files, err = multiparts(data, params["boundary"])
		if err != nil {
			return nil, nil, nil, invalid("_form", err.Error())
		}
	case err == nil && kind == "application/x-www-form-urlencoded":
		return nil, nil, nil, &refusal{status: http.StatusNotImplemented, message: "the stand-in does not know urlencoded forms"}
	default:
		return nil, nil, nil, invalid("_content_type",
			`Expected "Content-Type" header to be one of {'application/json', 'application/x-www-form-urlencoded', 'multipart/form-data'}.`)
	}
	o, err := decode(data)
	if err != nil {
		return nil, nil, nil, &refusal{status: http.StatusBadRequest, code: codeInvalidJSON, message: "The request body contains invalid JSON."}
	}
	return data, o, files, nil
}

func invalid(name, message string) *refusal {
	form := formErrors{}
	form.add("CONTENT_TYPE_INVALID", message, name)
	return &refusal{status: http.StatusBadRequest, code: codeInvalidForm, message: "Invalid Form Body", form: form}
}

// filePart is https://docs.discord.com/developers/reference#uploading-files
var filePart = regexp.MustCompile(`^files\[\d+\]$`)

// multiparts takes payload_json and the names of files from a form.
func multiparts(data []byte, boundary string) (payload []byte, files []string, err error) {
	payload = []byte("{}")
	for parts := multipart.NewReader(bytes.NewReader(data), boundary); ; {
		part, err := parts.NextPart()
		if err == io.EOF {
			return payload, files, nil
		}
		if err != nil {
			return nil, nil, err
		}
		switch text, err := io.ReadAll(part); {
		case err != nil:
			return nil, nil, err
		case part.FormName() == "payload_json":
			payload = text
		case part.FileName() != "":
			if !filePart.MatchString(part.FormName()) {
				return nil, nil, fmt.Errorf("a file is in the part %q, and belongs into files[n]", part.FormName())
			}
			if strings.HasSuffix(part.FileName(), ".png") {
				if _, err := png.Decode(bytes.NewReader(text)); err != nil {
					return nil, nil, fmt.Errorf("%s is no PNG: %v", part.FileName(), err)
				}
			}
			files = append(files, part.FileName())
		default:
			return nil, nil, fmt.Errorf("the stand-in does not know the part %q", part.FormName())
		}
	}
}

// decode reads exactly one JSON object.
func decode(data []byte) (object, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("it is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var o object
	if err := decoder.Decode(&o); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("something follows the object")
	}
	return o, nil
}
