package notify

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"
)

// attemptLimit bounds one attempt where the context does not.
const attemptLimit = 15 * time.Second

// answerLimit is more than any answer we look at.
const answerLimit = 64 << 10

// client returns the HTTP client of a channel. It follows no redirect: that could take a token to somewhere else. It
// keeps no connection: between two messages of ours hours pass, and one that died meanwhile would cost an attempt.
func client() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	return &http.Client{
		Transport:     transport,
		Timeout:       attemptLimit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// post makes one request and returns the answer with its body read. body nil makes it a GET.
func post(ctx context.Context, to, token Secret, body []byte) (*http.Response, []byte, error) {
	method := http.MethodPost
	if body == nil {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, to.Reveal(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("User-Agent", "homelab-patch-orchestrate")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	resp, err := client().Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil && resp.StatusCode/100 == 2 {
		err = nil // taken, and what else it wanted to say is lost
	}
	return resp, said, err
}
