//go:build e2efull

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Screen is what a page is looked at on.
type Screen struct {
	Width, Height int64
	Phone         bool // two pixels a dot, and a finger
	Dark          bool
}

// Visit is a page that is open in Debian's Chromium, without a window.
type Visit struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex
	requests []string
	said     []string
}

// Visit opens an address. Without Chromium the test is skipped, or fails under E2E_REQUIRED.
func Open(t testing.TB, address string, s Screen) *Visit {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		if os.Getenv("E2E_REQUIRED") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("chromium"), chromedp.NoSandbox,
		chromedp.WSURLReadTimeout(time.Minute))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	v := &Visit{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, v.hear)
	theme, density := "light", 1.0
	if s.Dark {
		theme = "dark"
	}
	if s.Phone {
		density = 2
	}
	v.do(network.Enable(), log.Enable(), runtime.Enable(),
		emulation.SetDeviceMetricsOverride(s.Width, s.Height, density, s.Phone),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}),
		chromedp.Navigate(address))
	return v
}

// hear notes what the page asks for and what it complains of.
func (v *Visit) hear(event any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		v.requests = append(v.requests, e.Request.URL)
	case *log.EventEntryAdded:
		v.said = append(v.said, fmt.Sprintf("%s: %s", e.Entry.Level, e.Entry.Text))
	case *runtime.EventConsoleAPICalled:
		v.said = append(v.said, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		v.said = append(v.said, e.ExceptionDetails.Error())
	}
}

func (v *Visit) do(actions ...chromedp.Action) {
	v.t.Helper()
	if err := chromedp.Run(v.ctx, actions...); err != nil {
		v.t.Fatalf("chromium: %v", err)
	}
}

// Requests is what the page asked for, itself first, without what it holds itself (data:).
func (v *Visit) Requests() (all []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.requests {
		if !strings.HasPrefix(r, "data:") {
			all = append(all, r)
		}
	}
	return all
}

// Said is what stands in the console, and each exception.
func (v *Visit) Said() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]string(nil), v.said...)
}

// Eval is what an expression of JavaScript comes to; into is a pointer.
func (v *Visit) Eval(expression string, into any) {
	v.t.Helper()
	var text string
	v.do(chromedp.Evaluate("JSON.stringify("+expression+")", &text))
	if err := json.Unmarshal([]byte(text), into); err != nil {
		v.t.Fatalf("%.200s: %q: %v", expression, text, err)
	}
}

// Key presses the mouse on what a selector finds, or types into it.
func (v *Visit) Click(selector string) {
	v.t.Helper()
	v.do(chromedp.Click(selector, chromedp.ByQuery))
}
func (v *Visit) Type(selector, text string) {
	v.t.Helper()
	v.do(chromedp.SendKeys(selector, text, chromedp.ByQuery))
}

// Picture is what is seen, as PNG.
func (v *Visit) Picture() []byte {
	v.t.Helper()
	var png []byte
	v.do(chromedp.CaptureScreenshot(&png))
	return png
}

// PDF is what is printed on A4.
func (v *Visit) PDF() []byte {
	v.t.Helper()
	var pdf []byte
	v.do(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		pdf, _, err = page.PrintToPDF().WithPaperWidth(8.27).WithPaperHeight(11.69).WithPrintBackground(true).Do(ctx)
		return err
	}))
	return pdf
}
