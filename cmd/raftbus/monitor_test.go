package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCalmIsAskedForOnceAndKeepsWhatIsSet(t *testing.T) {
	for given, want := range map[string]string{
		"":                             calmMonitor,
		"gctrace=1":                    "gctrace=1," + calmMonitor,
		"http2client=0,madvdontneed=1": "http2client=0,madvdontneed=1," + calmMonitor,
	} {
		setting, needed := calm(given)
		require.True(t, needed, given)
		require.Equal(t, want, setting)
		again, needed := calm(setting)
		require.False(t, needed, "a process would begin anew for ever")
		require.Equal(t, setting, again)
	}
	for _, chosen := range []string{"schedtrace=0", "schedtrace=1000,scheddetail=1", calmMonitor} {
		_, needed := calm(chosen)
		require.False(t, needed, "somebody chose %s himself", chosen)
	}
}

func TestOnlyWhatRunsForLongBeginsAnew(t *testing.T) {
	root := newRoot(os.LookupEnv)
	for line, want := range map[string]bool{
		"node --id n1 --members n1 --dir x": true,
		"--config file.yml node --id n1":    true,
		"dev":                               true,
		"bench put --clients 64":            true,
		"bench":                             true,
		"":                                  false,
		"version":                           false,
		"health":                            false,
		"kv put app node dev":               false,
		"member add node":                   false,
		"nodes":                             false,
	} {
		require.Equal(t, want, runsLong(root, strings.Fields(line)), line)
	}
}
