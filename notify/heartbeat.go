package notify

import "context"

// Heartbeat is a dead man's switch: something elsewhere that raises the alarm when it was not asked for its URL for too
// long. It knows nothing of the message.
type Heartbeat struct {
	URL Secret // asked for with GET
}

// Notify implements [Notifier].
func (h *Heartbeat) Notify(ctx context.Context, _ Message) error {
	resp, _, err := post(ctx, h.URL, "", nil)
	if err != nil {
		return unanswered(ctx, "heartbeat", err, h.URL)
	}
	if resp.StatusCode/100 != 2 {
		return answered("heartbeat", resp, "")
	}
	return nil
}
