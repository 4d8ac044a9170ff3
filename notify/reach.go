package notify

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Reach asks Discord for the webhook, and sends nothing: is it there, and still a webhook?
// https://docs.discord.com/developers/resources/webhook#get-webhook-with-token
func (d *Discord) Reach(ctx context.Context) error {
	hook, err := parseWebhook(d.Webhook)
	if err != nil {
		return &Error{Channel: "discord", Fault: Settings, Reason: "the webhook's URL cannot be used: " + err.Error()}
	}
	return reach(ctx, "discord", d.Webhook, Secret(hook.token))
}

// Reach asks the server for its health, and publishes nothing. Whether the token may publish to the topic only a message
// can tell: https://docs.ntfy.sh/publish/#limitations has nothing that asks.
func (n *Ntfy) Reach(ctx context.Context) error {
	return reach(ctx, "ntfy", Secret(strings.TrimRight(n.URL, "/")+"/v1/health"))
}

// reach asks for a URL, which is left out of what is said.
func reach(ctx context.Context, channel string, to Secret, secrets ...Secret) error {
	resp, _, err := post(ctx, to, "", nil)
	if err != nil {
		return unanswered(ctx, channel, err, append(secrets, to)...)
	}
	if resp.StatusCode/100 != 2 {
		return answered(channel, resp, "")
	}
	return nil
}

// Reach opens a connection to the server, or to the proxy before it, and asks for nothing: asking is a sign of life.
func (h *Heartbeat) Reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL.Reveal(), nil)
	if err != nil {
		return &Error{Channel: "heartbeat", Fault: Settings, Reason: "its URL cannot be used"}
	}
	to := req.URL
	if proxy, err := http.ProxyFromEnvironment(req); err == nil && proxy != nil {
		to = proxy
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(to.Hostname(), port(to)))
	if err != nil {
		return unanswered(ctx, "heartbeat", err, h.URL)
	}
	return conn.Close()
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
