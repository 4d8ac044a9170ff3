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

// Open opens an address. Without Chromium the test is skipped, or fails under E2E_REQUIRED.
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

// wide is what reaches beyond the page's right edge: its tag, class and text.
const wide = `[...document.querySelectorAll("body *")].filter(e => !e.closest("title") && e.getBoundingClientRect().right > innerWidth + 0.5)
	.map(e => e.tagName + " " + e.getAttribute("class") + " " + e.textContent.slice(0, 40))
	.concat(document.documentElement.scrollWidth > innerWidth ? ["the page has " + document.documentElement.scrollWidth + " of " + innerWidth] : [])`

// faint is each text whose contrast with what is behind it is below WCAG's AA: 4.5, or 3 where it is large.
// https://www.w3.org/TR/WCAG22/#contrast-minimum
const faint = `(() => {
	const rgb = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
	const light = ([r, g, b]) => { const f = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; return 0.2126*f(r) + 0.7152*f(g) + 0.0722*f(b); };
	const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; } return rgb(getComputedStyle(document.body).backgroundColor); };
	const found = []; let looked = 0;
	const look = (e, style, color) => {
		const [a, b] = [light(rgb(color)), light(behind(e))], ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
		looked++;
		if (ratio < (large ? 3 : 4.5) || style.opacity !== "1") found.push(ratio.toFixed(2) + " " + e.textContent.slice(0, 40));
	};
	for (const e of document.querySelectorAll("body, body *")) {
		if (e.closest("script, title, option") || !e.getClientRects().length) continue;
		for (const pseudo of ["::before", "::placeholder"]) {
			const style = getComputedStyle(e, pseudo);
			if (pseudo === "::placeholder" ? e.placeholder : /\w/.test(style.content) && style.content !== "none" && style.content !== "normal") look(e, style, style.color);
		}
		if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
		const style = getComputedStyle(e);
		look(e, style, e.closest("svg") ? style.fill : style.color);
	}
	return {Found: found, Looked: looked};
})()`

// Fine fails the test for whatever a page that needs nothing must not have: words in the console, a request beside its own,
// an overflow, or a text too faint to read. It returns how many texts it has looked at.
func (v *Visit) Fine() (texts int) {
	v.t.Helper()
	var over []string
	v.Eval(wide, &over)
	if len(over) > 0 {
		v.t.Errorf("wider than the screen: %q", over)
	}
	var contrast struct {
		Found  []string
		Looked int
	}
	v.Eval(faint, &contrast)
	if len(contrast.Found) > 0 || contrast.Looked == 0 {
		v.t.Errorf("of %d texts these are too faint: %q", contrast.Looked, contrast.Found)
	}
	if said := v.Said(); len(said) > 0 {
		v.t.Errorf("in the console: %q", said)
	}
	if asked := v.Requests(); len(asked) != 1 {
		v.t.Errorf("requests: %q", asked)
	}
	return contrast.Looked
}

// Took is how long the page took until it was loaded, by its own clock.
func (v *Visit) Took() time.Duration {
	v.t.Helper()
	var ms float64
	v.Eval(`performance.getEntriesByType("navigation")[0].loadEventEnd`, &ms)
	if ms <= 0 {
		v.t.Fatalf("the page was loaded after %v ms", ms)
	}
	return time.Duration(ms * float64(time.Millisecond))
}
