package top

// A view as text. What nodes say is from the bus, so nothing of it may steer the terminal: control characters are shown as '?'.

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// Options say how a view is written.
type Options struct {
	Sort   string // one of Sorts; empty: the first
	Width  int    // of a line, in characters; 0: as wide as it is
	Height int    // lines; 0: as many as there are
	Color  bool   // with escape codes that mark what is wrong
}

// Sorts are the orders that the nodes can be in: those but the id the most first.
var Sorts = []string{"id", "lag", "writes", "reads", "sync"}

const (
	bold  = "\x1b[1m"
	red   = "\x1b[31m"
	plain = "\x1b[0m"
)

// line is a line of the text, and how it is marked.
type line struct{ mark, text string }

// Text is the view as lines, each with its line end.
func (v View) Text(o Options) string {
	var lines []line
	lines = append(lines, line{bold, v.headline()}, line{"", v.flows()}, line{})
	if v.Trouble != "" {
		lines = slices.Insert(lines, 1, line{red, v.Trouble})
	}
	lines = append(lines, v.table(o.Sort)...)
	lines = append(lines, v.links()...)
	lines = append(lines, v.problems()...)
	if o.Height > 0 && len(lines) > o.Height {
		lines = append(lines[:o.Height-1], line{"", fmt.Sprintf("... and %d lines more: make the window higher", len(lines)-o.Height+1)})
	}
	var out strings.Builder
	for _, l := range lines {
		l.text = strings.TrimRight(cut(clean(l.text), o.Width), " ")
		if o.Color && l.mark != "" && l.text != "" {
			l.text = l.mark + l.text + plain
		}
		out.WriteString(l.text + "\n")
	}
	return out.String()
}

func (v View) headline() string {
	answer := 0
	for _, n := range v.Nodes {
		if n.Answers {
			answer++
		}
	}
	who := "no leader"
	if v.Leader != "" {
		who = fmt.Sprintf("%s leads in term %d", v.Leader, v.Term)
	}
	return fmt.Sprintf("%s: %s, %d of %d nodes answer, %s", cmp.Or(v.Prefix, "raftbus"), who, answer, len(v.Nodes), v.Time.UTC().Format("2006-01-02 15:04:05 UTC"))
}

func (v View) flows() string {
	return fmt.Sprintf("writes %s/s, p50 %s, p99 %s    reads %s/s, p50 %s, p99 %s    errors %s/s",
		rate(v.Writes.PerSecond), took(v.Writes.P50), took(v.Writes.P99), rate(v.Reads.PerSecond), took(v.Reads.P50), took(v.Reads.P99), rate(v.Errors))
}

// columns of the table; the percentiles are of what stands before them.
var columns = []string{"NODE", "ROLE", "TERM", "LAST", "COMMIT", "APPLIED", "LAG", "WRITE/S", "P50", "P99", "READ/S", "P50", "P99", "SYNC/S", "P50", "P99", "LOG/S", "LOG", "STORE"}

// table has a line for each node. What one that does not answer said last is not shown as if it were so now.
func (v View) table(sort string) []line {
	rows := [][]string{columns}
	marks := []string{bold}
	nodes := v.sorted(sort)
	for _, n := range nodes {
		rows = append(rows, n.row())
		mark := ""
		if !n.Answers || !n.Ready {
			mark = red
		}
		marks = append(marks, mark)
	}
	lines := aligned(rows)
	for i := range lines {
		lines[i].mark = marks[i]
		if i > 0 && !nodes[i-1].Answers { // longer than any column
			lines[i].text = fmt.Sprintf("%-*s%s", strings.Index(lines[0].text, rows[0][1]), nodes[i-1].ID, nodes[i-1].silence(v.Time))
		}
	}
	return lines
}

func (n Node) row() []string {
	if !n.Answers {
		return append([]string{n.ID}, make([]string, len(columns)-1)...)
	}
	row := []string{n.ID, n.Role, fmt.Sprint(n.Term), fmt.Sprint(n.Last), fmt.Sprint(n.Commit), fmt.Sprint(n.Applied), n.lag()}
	for _, f := range []Flow{n.Writes, n.Reads, n.Syncs} {
		row = append(row, rate(f.PerSecond), took(f.P50), took(f.P99))
	}
	return append(row, size(n.Written), size(float64(n.LogBytes)), size(float64(n.Store)))
}

func (n Node) silence(now time.Time) string {
	if n.Since.IsZero() {
		return "no answer yet"
	}
	return fmt.Sprintf("no answer since %s (%v); it was %s in term %d, and had applied %d",
		n.Since.UTC().Format("15:04:05"), now.Sub(n.Since).Round(time.Second), n.Role, n.Term, n.Applied)
}

func (n Node) lag() string {
	if n.Lag == nil {
		return "-"
	}
	return fmt.Sprint(*n.Lag)
}

func (v View) sorted(by string) []Node {
	list := slices.Clone(v.Nodes)
	key := func(n Node) float64 {
		switch by {
		case "lag":
			if n.Lag == nil {
				return -1
			}
			return float64(*n.Lag)
		case "writes":
			return n.Writes.PerSecond
		case "reads":
			return n.Reads.PerSecond
		case "sync":
			return n.Syncs.P99
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b Node) int { return cmp.Compare(key(b), key(a)) })
	return list
}

// links has the round trip of each node to each other, or since when there is none.
func (v View) links() []line {
	head := []string{"LINKS"}
	for _, n := range v.Nodes {
		head = append(head, "to "+n.ID)
	}
	rows := [][]string{head}
	for _, n := range v.Nodes {
		if !n.Answers {
			continue
		}
		row := []string{n.ID}
		for _, to := range v.Nodes {
			row = append(row, n.linkTo(to.ID, v.Time))
		}
		rows = append(rows, row)
	}
	if len(rows) == 1 || len(v.Nodes) < 2 {
		return nil
	}
	lines := append([]line{{}}, aligned(rows)...)
	lines[1].mark = bold
	return lines
}

func (n Node) linkTo(id string, now time.Time) string {
	for _, l := range n.Links {
		switch {
		case l.To != id:
		case l.Connected:
			return took(l.RoundTrip)
		default:
			return "broken " + now.Sub(l.Since).Round(time.Second).String()
		}
	}
	return "-"
}

func (v View) problems() []line {
	var lines []line
	for _, n := range v.Nodes {
		for _, p := range n.Problems {
			lines = append(lines, line{red, n.ID + ": " + p})
		}
	}
	if len(lines) > 0 {
		lines = append([]line{{}}, lines...)
	}
	return lines
}

func aligned(rows [][]string) (lines []line) {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = clean(cell)
		}
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	_ = table.Flush() // a Builder takes all
	for text := range strings.Lines(text.String()) {
		lines = append(lines, line{text: strings.TrimRight(text, "\n")})
	}
	return lines
}

func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

func cut(text string, width int) string {
	if runes := []rune(text); width > 0 && len(runes) > width {
		return string(runes[:width])
	}
	return text
}

// took is a duration with its unit; what is 0 was not measured.
func took(seconds float64) string {
	switch ms := seconds * 1000; {
	case ms == 0:
		return "-"
	case ms < 10:
		return fmt.Sprintf("%.2fms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0fms", ms)
	default:
		return fmt.Sprintf("%.1fs", seconds)
	}
}

func rate(perSecond float64) string {
	if perSecond > 0 && perSecond < 10 {
		return fmt.Sprintf("%.1f", perSecond)
	}
	return fmt.Sprintf("%.0f", perSecond)
}

func size(bytes float64) string {
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if bytes < 1024 {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", bytes), ".0") + unit
		}
		bytes /= 1024
	}
	return fmt.Sprintf("%.1fTiB", bytes)
}
