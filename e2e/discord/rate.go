package discord

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// bucket lets limit requests pass in each span of time, which begins with its first request.
type bucket struct {
	limit int
	span  time.Duration
	used  int
	reset time.Time
}

// take takes one request, unless there is none left.
func (b *bucket) take(now time.Time) bool {
	if !now.Before(b.reset) {
		b.used, b.reset = 0, now.Add(b.span)
	}
	if b.used >= b.limit {
		return false
	}
	b.used++
	return true
}

// bucketName is the same for all webhooks: it is "non-inclusive of top-level resources in the path".
const bucketName = "f2b6c35ad5a3d7e1b0b6a4c9d5d8a1e0"

// headers says how a bucket stands:
// https://docs.discord.com/developers/topics/rate-limits#header-format-rate-limit-header-examples
func (b *bucket) headers(h http.Header, now time.Time) {
	h.Set("X-RateLimit-Limit", strconv.Itoa(b.limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(b.limit-b.used))
	h.Set("X-RateLimit-Reset", strconv.FormatFloat(float64(b.reset.UnixMilli())/1000, 'f', 3, 64))
	h.Set("X-RateLimit-Reset-After", strconv.FormatFloat(max(0, b.reset.Sub(now).Seconds()), 'f', 3, 64))
	h.Set("X-RateLimit-Bucket", bucketName)
}

// limited is the answer to one request too many:
// https://docs.discord.com/developers/topics/rate-limits#exceeding-a-rate-limit. scope is user, shared or global.
// Versions before 8 say milliseconds where later ones say seconds.
func limited(w http.ResponseWriter, version int, wait time.Duration, scope string) {
	h := w.Header()
	h.Set("X-RateLimit-Scope", scope)
	message := "You are being rate limited."
	switch scope {
	case "global":
		h.Set("X-RateLimit-Global", "true")
		for _, name := range []string{"Limit", "Remaining", "Reset", "Reset-After", "Bucket"} {
			h.Del("X-RateLimit-" + name)
		}
	case "shared":
		message = "The resource is being rate limited."
	}
	body := map[string]any{"message": message, "global": scope == "global"}
	if version < 8 {
		body["retry_after"] = wait.Milliseconds()
		h.Set("Retry-After", strconv.FormatInt(wait.Milliseconds(), 10))
	} else {
		body["retry_after"] = math.Round(wait.Seconds()*1000) / 1000
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	answer(w, http.StatusTooManyRequests, body)
}
