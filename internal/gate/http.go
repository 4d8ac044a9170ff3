package gate

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"homelab-patch-orchestrate/orchestrator"
)

// HTTP asks a server with GET. URL is required.
type HTTP struct {
	URL      string
	Status   int    // of a healthy answer; 0 is any of 2xx. A 3xx is an answer then, and is not followed
	Contains string // what the body of a healthy answer holds, in its first MiB; "" is anything
}

// bodyLimit is how much of an answer is read.
const bodyLimit = 1 << 20

// Check returns nil if the answer is that of a healthy server. A redirect is followed on the same host only, and never
// from https to http.
func (h HTTP) Check(ctx context.Context, _ orchestrator.Question) error {
	u, err := url.Parse(h.URL)
	if err != nil {
		return errors.New("its URL cannot be read") // the error would show it
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL, nil)
	if err != nil {
		return fmt.Errorf("%s cannot be asked for", shown(u))
	}
	client := http.Client{Transport: fresh(), CheckRedirect: h.redirect}
	answer, err := client.Do(req)
	if ctx.Err() != nil {
		return errors.New(shown(u))
	}
	if err != nil {
		return fmt.Errorf("%s: %s", shown(u), plain(err, u))
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, bodyLimit))
	status := fmt.Sprintf("%d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	switch {
	case h.Status != 0 && answer.StatusCode != h.Status:
		return fmt.Errorf("%s answered %s, want %d", shown(u), line(status), h.Status)
	case h.Status == 0 && answer.StatusCode/100 != 2:
		return fmt.Errorf("%s answered %s", shown(u), line(status))
	case h.Contains != "" && err != nil && !bytes.Contains(body, []byte(h.Contains)):
		return fmt.Errorf("%s: its answer broke off: %s", shown(u), plain(err, u))
	case !bytes.Contains(body, []byte(h.Contains)):
		return fmt.Errorf("%s answered %s without %q; it begins: %s", shown(u), line(status), line(h.Contains),
			cmp.Or(line(string(body[:min(len(body), longest/3)])), "(nothing)"))
	}
	return nil
}

func (h HTTP) redirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case h.Status/100 == 3:
		return http.ErrUseLastResponse
	case len(via) >= 10:
		return errors.New("it redirects without end")
	case req.URL.Hostname() != first.Hostname() || first.Scheme == "https" && req.URL.Scheme != "https":
		return fmt.Errorf("it redirects to %s, which is not followed", shown(req.URL))
	}
	return nil
}
