package report

import (
	"bytes"
	"context"
	"image/color"
	"image/png"
	"os"
	"testing"
	"time"

	o "homelab-patch-orchestrate/orchestrator"
)

// A picture has its bars where the timeline has them, is of a size that a chat takes, and none is made of nothing.
func TestPicture(t *testing.T) {
	for name, r := range map[string]o.Report{"halted": halted(22), "passed": fleet(5), "many": halted(200)} {
		data, err := Of(context.Background(), r, record(t, r)).Picture(time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		if out := os.Getenv("REPORT_PICTURES"); out != "" {
			os.WriteFile(out+"/"+name+".png", data, 0o644)
		}
		img, err := png.Decode(bytes.NewReader(data))
		if err != nil || len(data) > 60_000 || img.Bounds().Dx() != pictureWidth || img.Bounds().Dy() > 800 {
			t.Fatalf("%s: %d bytes, %v, %v", name, len(data), img.Bounds(), err)
		}
		found := map[color.RGBA]int{}
		for y := 0; y < img.Bounds().Dy(); y += 4 {
			for x := 0; x < img.Bounds().Dx(); x += 4 {
				found[color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)]++
			}
		}
		if bad := found[ink("failed")] > 30; bad != (name != "passed") || found[ink("passed")] < 30 || found[ink("pause")] < 30 {
			t.Errorf("%s: %d pixels of a failure, %d that passed, %d of a pause", name, found[ink("failed")], found[ink("passed")], found[ink("pause")])
		}
	}
	if data, err := Of(context.Background(), o.Report{ID: "x", Started: began, Waves: []o.WaveReport{{}}}, t.TempDir()).Picture(time.UTC); data != nil || err != nil {
		t.Errorf("of a run that never began: %d bytes, %v", len(data), err)
	}
}
