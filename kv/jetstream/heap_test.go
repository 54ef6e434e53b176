package jetstream

// What consumers take of a node's memory, of which an account's bound counts what their configurations have.

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/watch"
)

// Whatever a configuration is, a node's memory has four times its bytes for it at most (Q12; docs/tuning.md).
func TestAConsumerTakesFourTimesItsConfigurationAtMost(t *testing.T) {
	filters := func(count int, filter func(i int) string) consumerConfig {
		c := consumerConfig{Name: "c", DeliverSubject: "d", DeliverPolicy: "all", AckPolicy: "none", ReplayPolicy: "instant"}
		for i := range count {
			c.FilterSubjects = append(c.FilterSubjects, "$KV.b."+filter(i))
		}
		return c
	}
	for about, c := range map[string]consumerConfig{
		"many tokens":   filters(1, func(int) string { return "*" + strings.Repeat(".abcdefghijklm", 4_000) }),
		"any tokens":    filters(1, func(int) string { return "*" + strings.Repeat(".a", 32_000) }),
		"few tokens":    filters(1, func(int) string { return "*" + strings.Repeat(".a", 2_000) }),
		"many keys":     filters(consumerFiltersMax-1, func(i int) string { return fmt.Sprintf("%04d", i) }),
		"keys of parts": filters(consumerFiltersMax-1, func(i int) string { return fmt.Sprintf("%02d.%02d", i/100, i%100) }),
		"many patterns": filters(consumerWildMax, func(i int) string { return fmt.Sprintf("%03d.*", i) + strings.Repeat(".a", 110) }),
	} {
		require.Nil(t, c.complete("b"), about)
		record, err := json.Marshal(&c)
		require.NoError(t, err)
		require.LessOrEqual(t, len(record), consumerBytesMax, about)
		const count = 32
		var kept [count]watch.Config
		var records [count][]byte
		before := heap()
		for i := range kept {
			records[i] = append([]byte(nil), record...)
			kept[i], err = ConsumerConfig("b", records[i])
			require.NoError(t, err)
		}
		require.LessOrEqual(t, (heap()-before)/count, 4*len(record), about)
		runtime.KeepAlive(&kept)
		runtime.KeepAlive(&records)
	}
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
