package discord

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/bwmarrin/discordgo"
)

// detour sends what is meant for Discord to a front.
type detour struct{ to *url.URL }

func (d detour) RoundTrip(r *http.Request) (*http.Response, error) {
	r.URL.Scheme, r.URL.Host = d.to.Scheme, d.to.Host
	return http.DefaultTransport.RoundTrip(r)
}

// The client that the project uses understands the stand-in: what comes back, and what goes wrong.
func TestDiscordgo(t *testing.T) {
	server := &Server{ID: "7", Token: "secret"}
	front := &Front{Handler: server, Answer: Answer}
	to, _ := open(t, front, server)
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	send := func(token string, data *discordgo.WebhookParams) (*discordgo.Message, error) {
		session, err := discordgo.New("")
		if err != nil {
			t.Fatal(err)
		}
		session.Client = &http.Client{Transport: detour{u}}
		return session.WebhookExecute("7", token, true, data, discordgo.WithRetryOnRatelimit(false), func(c *discordgo.RequestConfig) {
			query := c.Request.URL.Query()
			query.Set("with_components", "true")
			c.Request.URL.RawQuery = query.Encode()
		})
	}
	full := &discordgo.WebhookParams{
		Content: "@everyone", AllowedMentions: &discordgo.MessageAllowedMentions{},
		Embeds: []*discordgo.MessageEmbed{{Title: "t", Color: 7, Timestamp: time.Now().Format(time.RFC3339)}},
		Components: []discordgo.MessageComponent{discordgo.ActionsRow{Components: []discordgo.MessageComponent{
			discordgo.Button{Style: discordgo.LinkButton, Label: "Run", URL: "https://a.example/run"},
		}}},
	}
	m, err := send("secret", full)
	if err != nil || len(m.Embeds) != 1 || m.Embeds[0].Title != "t" || len(m.Components) != 1 || m.WebhookID != "7" || time.Since(m.Timestamp) > time.Minute {
		t.Fatalf("%+v, %v", m, err)
	}
	kept := server.Messages()
	if len(kept) != 1 || kept[0].ID != m.ID || kept[0].Version != 9 || len(kept[0].Buttons) != 1 || kept[0].Pings != nil {
		t.Errorf("%+v", kept)
	}
	if _, err := send("secret", &discordgo.WebhookParams{Content: "plain"}); err != nil { // its components are null
		t.Error(err)
	}
	if m := server.Messages()[1]; m.Ignored {
		t.Errorf("%+v", m)
	}

	for _, c := range []struct {
		token   string
		content string
		status  int
		code    int
	}{{"secret", "", 400, 50006}, {"secret", x(2001), 400, 50035}, {"wrong", "a", 401, 50027}} {
		_, err := send(c.token, &discordgo.WebhookParams{Content: c.content})
		rest := (*discordgo.RESTError)(nil)
		if !errors.As(err, &rest) || rest.Response.StatusCode != c.status || rest.Message == nil || rest.Message.Code != c.code {
			t.Errorf("%s %.9q: %v", c.token, c.content, err)
		}
	}
	if err := front.Set(Fault{Kind: "429", RetryAfter: 1.5}); err != nil {
		t.Fatal(err)
	}
	_, err = send("secret", full)
	if limit := (*discordgo.RateLimitError)(nil); !errors.As(err, &limit) || limit.RetryAfter != 1500*time.Millisecond {
		t.Errorf("429: %v", err)
	}
}
