package notify

import (
	"bytes"
	"image"
	"image/png"
	"testing"
)

// A picture waits in the outbox with its message, and is a file of it and the picture of its embed at Discord; one that is
// too large is left out, and the message is not.
func TestImage(t *testing.T) {
	var small bytes.Buffer
	if err := png.Encode(&small, image.NewRGBA(image.Rect(0, 0, 40, 20))); err != nil {
		t.Fatal(err)
	}
	far := newStandIn(t)
	dir := t.TempDir()
	put := Outbox{Dir: dir, Channels: []Channel{{Name: "discord"}}}
	for _, picture := range [][]byte{small.Bytes(), make([]byte, discordImage+1), nil} {
		if err := put.Put(Message{Title: "a run", Image: picture}, "discord"); err != nil {
			t.Fatal(err)
		}
	}
	later := Outbox{Dir: dir, Channels: []Channel{{Name: "discord", Notifier: &Discord{Webhook: far.url()}}}} // another process
	if r := later.Flush(t.Context()); len(r) != 1 || r[0].Delivered != 3 || r[0].Err != nil {
		t.Fatalf("%+v", r)
	}
	all := far.Messages()
	for i, want := range []int{1, 0, 0} {
		if m := all[i]; len(m.Files) != want || (m.Embeds[0].Image != "") != (want > 0) || len(m.Embeds[0].Title) == 0 {
			t.Errorf("%d: %+v", i, m)
		}
	}
	if all[0].Files[0] != discordImageName || all[0].Embeds[0].Image != "attachment://"+discordImageName {
		t.Errorf("%+v", all[0])
	}
}
