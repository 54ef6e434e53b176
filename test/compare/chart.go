package main

// Charts as SVG: small panels beside each other, both axes in powers of ten, a dot for each point with its value.

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

type chart struct {
	Title  string
	Panels []chartPanel
}

type chartPanel struct {
	Title string
	Lines []chartLine
}

type chartLine struct {
	Name   string
	Points []chartPoint
}

type chartPoint struct{ X, Y float64 }

// In pixels: each panel is a frame with room for its axes.
const (
	panelWidth, panelHeight = 300.0, 260.0
	frameLeft, frameRight   = 30.0, 270.0
	frameTop, frameBottom   = 70.0, 220.0
)

var lineColours = []string{"#0b6fb8", "#d1495b", "#2e8b57"}

func (c chart) svg() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="10">`+"\n", panelWidth*float64(len(c.Panels)), panelHeight)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n"+`<text x="%v" y="22" font-size="14">%s</text>`+"\n", frameLeft, html.EscapeString(c.Title))
	for i, p := range c.Panels {
		fmt.Fprintf(&b, `<g transform="translate(%.0f 0)">`+"\n", panelWidth*float64(i))
		p.draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p chartPanel) draw(b *strings.Builder) {
	fmt.Fprintf(b, `<text x="%v" y="44">%s</text>`+"\n", frameLeft, html.EscapeString(p.Title))
	fmt.Fprintf(b, `<rect x="%v" y="%v" width="%v" height="%v" fill="none" stroke="#bbb"/>`+"\n", frameLeft, frameTop, frameRight-frameLeft, frameBottom-frameTop)
	x := p.axis(frameLeft+14, frameRight-14, func(q chartPoint) float64 { return q.X })
	y := p.axis(frameBottom-14, frameTop+14, func(q chartPoint) float64 { return q.Y })
	for i, l := range p.Lines {
		colour := lineColours[i%len(lineColours)]
		fmt.Fprintf(b, `<text x="%v" y="58" fill="%s">%s</text>`+"\n", frameLeft+90*float64(i), colour, html.EscapeString(l.Name))
		l.draw(b, colour, i, x, y)
	}
	if len(p.Lines) > 0 {
		for _, q := range p.Lines[0].Points {
			fmt.Fprintf(b, `<text x="%.1f" y="%v" text-anchor="middle">%s</text>`+"\n", x(q.X), frameBottom+16, brief(q.X))
		}
	}
}

// axis maps values to pixels, in powers of ten.
func (p chartPanel) axis(from, to float64, of func(chartPoint) float64) func(float64) float64 {
	least, most := math.Inf(1), math.Inf(-1)
	for _, l := range p.Lines {
		for _, q := range l.Points {
			if v := of(q); v > 0 {
				least, most = min(least, v), max(most, v)
			}
		}
	}
	span := math.Log(most / least)
	return func(v float64) float64 {
		if !(span > 0) || !(v > 0) {
			return (from + to) / 2
		}
		return from + (to-from)*math.Log(v/least)/span
	}
}

func (l chartLine) draw(b *strings.Builder, colour string, nth int, x, y func(float64) float64) {
	var line, dots strings.Builder
	for _, q := range l.Points {
		if !(q.Y > 0) {
			continue // nothing was measured
		}
		fmt.Fprintf(&line, "%.1f,%.1f ", x(q.X), y(q.Y))
		above := -5 + 16*float64(nth%2) // the values of two lines stand apart
		fmt.Fprintf(&dots, `<circle cx="%.1f" cy="%.1f" r="2" fill="%s"/><text x="%.1f" y="%.1f" text-anchor="middle" fill="%s">%s</text>`+"\n",
			x(q.X), y(q.Y), colour, x(q.X), y(q.Y)+above, colour, brief(q.Y))
	}
	fmt.Fprintf(b, `<polyline fill="none" stroke="%s" points="%s"/>`+"\n%s", colour, strings.TrimSpace(line.String()), dots.String())
}

// brief is a number in about three digits.
func brief(v float64) string {
	for _, unit := range []struct {
		from float64
		name string
	}{{1e6, "M"}, {1e3, "k"}} {
		if v >= unit.from {
			return strconv.FormatFloat(v/unit.from, 'g', 3, 64) + unit.name
		}
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
