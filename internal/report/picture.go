package report

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"strings"
	"time"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// The picture of a timeline, in pixels. A chat shows it half as large.
const (
	pictureWidth  = 1040
	pictureName   = 220 // of the rows
	pictureMargin = 24
	pictureAxis   = 40
	pictureRow    = 32
	pictureBar    = 18
	pictureText   = 20
	pictureRows   = 20
)

// ink is the colour of a kind of bar or mark: one that is seen by day and by night.
func ink(kind string) color.RGBA {
	switch kind {
	case "failed", "unreachable", "halted", "no":
		return color.RGBA{0xe0, 0x62, 0x5a, 0xff}
	case "interrupted", "held":
		return color.RGBA{0xd3, 0x9a, 0x35, 0xff}
	case "patched", "passed", "yes":
		return color.RGBA{0x3f, 0xa6, 0x73, 0xff}
	case "running", "soaking", "awaiting-reboot", "resumed":
		return color.RGBA{0x5f, 0x93, 0xdd, 0xff}
	case "reboot":
		return color.RGBA{0xc9, 0xc6, 0xff, 0xff}
	case "pause":
		return color.RGBA{0x48, 0x4b, 0x51, 0xff}
	}
	return color.RGBA{0x8b, 0x8e, 0x94, 0xff}
}

// Picture draws the timeline as PNG, by the clock of the zone. Where there are more rows than it has room for, hosts that came
// through are left out. It is nil as long as no wave has begun.
func (r Report) Picture(zone *time.Location) ([]byte, error) {
	t := r.timeline(zone)
	if len(t.Rows) == 0 {
		return nil, nil
	}
	rows := t.brief(pictureRows)
	parsed, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, err
	}
	face, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: pictureText, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		return nil, err
	}
	defer face.Close()
	p := canvas{image.NewRGBA(image.Rect(0, 0, pictureWidth, 2*pictureMargin+pictureAxis+len(rows)*pictureRow)), face}
	p.box(p.Bounds(), color.RGBA{0x14, 0x15, 0x17, 0xff})
	text, dim, grid := color.RGBA{0xec, 0xec, 0xea, 0xff}, color.RGBA{0xa5, 0xa8, 0xad, 0xff}, color.RGBA{0x35, 0x38, 0x3d, 0xff}
	left, width := pictureMargin+pictureName, pictureWidth-2*pictureMargin-pictureName
	x := func(percent float64) int { return left + int(percent*float64(width)/100) }
	for _, k := range t.Ticks {
		p.box(image.Rect(x(k.X), pictureMargin+pictureAxis-8, x(k.X)+1, p.Bounds().Dy()-pictureMargin), grid)
		long := font.MeasureString(face, k.Text).Ceil()
		p.text(k.Text, min(x(k.X)-long/2, pictureWidth-pictureMargin-long), pictureMargin+pictureText, dim)
	}
	for i, row := range rows {
		y := pictureMargin + pictureAxis + i*pictureRow
		name, at, of := row.Short(), pictureMargin, text
		if !row.Wave {
			at, of = at+16, dim
		}
		p.text(name, at, y+pictureBar, of)
		thick := pictureBar
		if !row.Wave {
			thick -= 6
		}
		top := y + (pictureBar-thick)/2 + 2
		for _, b := range row.Bars {
			p.box(image.Rect(x(b.X), top, max(x(b.X)+3, x(b.X+b.W)), top+thick), ink(b.Kind))
		}
		for _, m := range row.Marks {
			p.diamond(x(m.X), top+thick/2, 9, ink(m.Kind))
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, p.RGBA); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// brief returns at most n rows: if there are more, first without the hosts that came through, then the first ones.
func (t timeline) brief(n int) (rows []row) {
	if len(t.Rows) <= n {
		return t.Rows
	}
	for _, r := range t.Rows {
		lost := false
		for _, b := range r.Bars {
			lost = lost || strings.Contains(" failed unreachable interrupted ", " "+b.Kind+" ")
		}
		if r.Wave || lost {
			rows = append(rows, r)
		}
	}
	return rows[:min(len(rows), n)]
}

type canvas struct {
	*image.RGBA
	face font.Face
}

func (c canvas) box(r image.Rectangle, of color.RGBA) {
	draw.Draw(c, r, image.NewUniform(of), image.Point{}, draw.Src)
}

// text writes one whose baseline is at y.
func (c canvas) text(s string, x, y int, of color.RGBA) {
	d := font.Drawer{Dst: c, Src: image.NewUniform(of), Face: c.face, Dot: fixed.P(x, y)}
	d.DrawString(s)
}

// diamond is a mark, with a rim that sets it off from the bar below.
func (c canvas) diamond(x, y, size int, of color.RGBA) {
	for dy := -size; dy <= size; dy++ {
		for dx := -size; dx <= size; dx++ {
			switch d := max(dx, -dx) + max(dy, -dy); {
			case d <= size-3:
				c.Set(x+dx, y+dy, of)
			case d <= size:
				c.Set(x+dx, y+dy, color.RGBA{0x14, 0x15, 0x17, 0xff})
			}
		}
	}
}
