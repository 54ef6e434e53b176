package bench

// Latencies as pictures: the curve of their percentiles as SVG, and bars for a terminal.

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// Plot is named curves in one picture.
type Plot struct {
	Title  string
	Curves []Curve
}

// Curve is the percentiles of one kind of operation.
type Curve struct {
	Name   string
	Points []Point
}

// Plot is the report's picture.
func (r *Report) Plot() Plot {
	p := Plot{Title: fmt.Sprintf("%s, %.0f a second", r.title(), r.PerSecond)}
	for _, l := range r.Latency {
		p.Curves = append(p.Curves, Curve{l.Op, l.Curve})
	}
	return p
}

// The picture, in pixels: the curves are in a frame with margins for the axes.
const (
	plotWidth, plotHeight                    = 860, 460
	plotLeft, plotRight, plotTop, plotBottom = 70.0, 40.0, 50.0, 50.0
	ninesMax                                 = 5 // the x axis ends at 99.999 %
)

var colours = []string{"#0b6fb8", "#d1495b", "#2e8b57", "#8a5ab5", "#c77d1e", "#555555"}

// SVG writes the picture: percentiles to the right, by how many are beyond them, and milliseconds upwards, both in powers of ten.
func (p Plot) SVG(w io.Writer) error {
	var b strings.Builder
	low, high := p.decades()
	y := func(ms float64) float64 {
		part := (math.Log10(ms) - float64(low)) / float64(high-low)
		return plotHeight - plotBottom - part*(plotHeight-plotTop-plotBottom)
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n"+`<text x="%v" y="24" font-size="14">%s</text>`+"\n", plotLeft, html.EscapeString(p.Title))
	for d := low; d <= high; d++ {
		ms := math.Pow10(d)
		line(&b, plotLeft, y(ms), plotWidth-plotRight, y(ms))
		fmt.Fprintf(&b, `<text x="%v" y="%.1f" text-anchor="end">%v ms</text>`+"\n", plotLeft-6, y(ms)+4, ms)
	}
	for _, percent := range []float64{0, 50, 90, 99, 99.9, 99.99, 99.999} {
		line(&b, plotX(percent), plotTop, plotX(percent), plotHeight-plotBottom)
		fmt.Fprintf(&b, `<text x="%.1f" y="%v" text-anchor="middle">%v %%</text>`+"\n", plotX(percent), plotHeight-plotBottom+18, percent)
	}
	for i, c := range p.Curves {
		c.draw(&b, colours[i%len(colours)], y)
		fmt.Fprintf(&b, `<text x="%v" y="%d" fill="%s">%s</text>`+"\n", plotLeft+10, int(plotTop)+18+16*i, colours[i%len(colours)], html.EscapeString(c.Name))
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func line(b *strings.Builder, x1, y1, x2, y2 float64) {
	fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n", x1, y1, x2, y2)
}

// plotX gives each nine of a percentile the same room.
func plotX(percent float64) float64 {
	nines := ninesMax * 1.0
	if percent < 100 {
		nines = min(-math.Log10(1-percent/100), ninesMax)
	}
	return plotLeft + nines/ninesMax*(plotWidth-plotLeft-plotRight)
}

func (c Curve) draw(b *strings.Builder, colour string, y func(float64) float64) {
	fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, colour)
	for _, point := range c.Points {
		fmt.Fprintf(b, "%.1f,%.1f ", plotX(point.Percent), y(point.MS))
	}
	b.WriteString(`"/>` + "\n")
}

// decades are the powers of ten around all points.
func (p Plot) decades() (low, high int) {
	least, most := math.Inf(1), math.Inf(-1)
	for _, c := range p.Curves {
		for _, point := range c.Points {
			least, most = min(least, point.MS), max(most, point.MS)
		}
	}
	if math.IsInf(least, 1) {
		return 0, 1
	}
	low, high = int(math.Floor(math.Log10(least))), int(math.Ceil(math.Log10(most)))
	return low, max(high, low+1)
}

const barWidth = 50

// PrintBars draws how often which latency was seen.
func (r *Report) PrintBars(w io.Writer) error {
	var b strings.Builder
	for _, l := range r.Latency {
		most := uint64(1)
		for _, bin := range l.Spread {
			most = max(most, bin.Count)
		}
		fmt.Fprintf(&b, "%s, milliseconds up to\n", l.Op)
		for _, bin := range l.Spread {
			bar := strings.Repeat("█", int(bin.Count*barWidth/most))
			fmt.Fprintf(&b, "%12.3f %10d %s\n", bin.MS, bin.Count, bar)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
