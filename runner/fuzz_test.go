package runner

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
)

// Whatever is given for a document: an event or an error, nothing after an
// error, the same however it arrives, and a result for whoever was expected.
func FuzzDecodeJSONCallback(f *testing.F) {
	result := `{"action": "command", "changed": true, "rc": 0, "stdout": "\u00e9\n", "results": [{"item": 1, "failed": true}]}`
	for _, text := range []string{
		aDocument(aPlay(`"h": `+result), `"h": {"changed": 1, "failures": 0, "ignored": 0, "ok": 2, "rescued": 0, "skipped": 0, "unreachable": 0}`),
		aDocument(aPlay(`"h": {"unreachable": true, "msg": "x"}, "i": {"skipped": true}`)+", "+aPlay(`"h": {"failed": true, "rc": NaN}`), "{}"),
		"noise\n{\n" + aDocument("", "{}") + "\nnoise", aDocument(aPlay(""), "")[:60], `{"custom_stats": {}}`, "",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		fold := newFold([]string{"h"})
		var said []string
		var end error
		for e, err := range DecodeJSONCallback(bytes.NewReader(in)) {
			if end != nil {
				t.Errorf("after the error %v: %+v, %v", end, e, err)
			}
			if (err == nil) != (e.Kind != "") {
				t.Errorf("event %+v with error %v", e, err)
			}
			if len(e.Data) > MaxData {
				t.Errorf("%d bytes of data", len(e.Data))
			}
			if end = err; err == nil {
				fold.add(e)
			} else if !errors.Is(err, ErrStream) {
				t.Errorf("error %v", err)
			}
			said = append(said, fmt.Sprintf("%+v", e))
		}
		if _, ok := fold.result().Hosts["h"]; !ok {
			t.Error("an expected host has no result")
		}
		var again []string
		for e := range DecodeJSONCallback(iotest.OneByteReader(bytes.NewReader(in))) {
			again = append(again, fmt.Sprintf("%+v", e))
		}
		if a, b := strings.Join(said, "\n"), strings.Join(again, "\n"); a != b {
			t.Errorf("byte by byte it is\n%s\nand at once\n%s", b, a)
		}
	})
}
