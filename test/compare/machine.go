package main

// What the machine is, what it can do at best, and what processes use of it.

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/cmd/raftbus/bench"
)

// Machine is what figures depend on.
type Machine struct {
	Date     string            `json:"date"`
	CPUs     int               `json:"cpus"`
	CPU      string            `json:"cpu"`
	Kernel   string            `json:"kernel"`
	Versions map[string]string `json:"versions"`
}

func machine() Machine {
	m := Machine{Date: time.Now().UTC().Format(time.DateOnly), CPUs: runtime.NumCPU(), Versions: map[string]string{"go": runtime.Version()}}
	info, _ := os.ReadFile("/proc/cpuinfo") // without it the model is not told
	if _, rest, found := strings.Cut(string(info), "model name\t: "); found {
		m.CPU, _, _ = strings.Cut(rest, "\n")
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	m.Kernel = strings.TrimSpace(string(kernel))
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, d := range build.Deps {
			switch d.Path {
			case "go.etcd.io/etcd/server/v3", "github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go":
				m.Versions[d.Path] = d.Version
			}
		}
	}
	return m
}

const tmpfsMagic = 0x01021994

// onDisk refuses a folder in memory, where a sync costs nothing and everybody looks fast.
func onDisk(dir string) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return err
	}
	if s.Type == tmpfsMagic {
		return fmt.Errorf("%s is in memory: name a folder on a disk with --dir", dir)
	}
	return nil
}

// ticks is how many the kernel counts in a second of processor time; the same on all Linux that Go runs on.
const ticks = 100

// cpuSeconds is what a process has used, in user and kernel mode.
func cpuSeconds(pid int) float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0 // it has ended
	}
	return parseStat(stat)
}

// ownCPU is what this process has used: the clients.
func ownCPU() float64 { return cpuSeconds(os.Getpid()) }

// parseStat reads utime and stime, fields 14 and 15. The second field, a name in brackets, may hold anything.
func parseStat(stat []byte) float64 {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(string(fields[11]), 64)
	system, _ := strconv.ParseFloat(string(fields[12]), 64)
	return (user + system) / ticks
}

func residentBytes(pid int) float64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseFloat(fields[0], 64)
	return kib * 1024
}

// diskBytes is what a folder takes on its disk.
func diskBytes(dir string) (sum float64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // servers remove files
		}
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && !entry.IsDir() {
			sum += float64(stat.Blocks) * 512
		}
		return nil
	})
	return sum, err
}

// Limits is what one write cannot be faster than, in milliseconds, measured beside the systems: a client's request and a follower's are
// two round trips over NATS, and one sync is on the way.
type Limits struct {
	SyncMS      float64 `json:"fdatasync_4k_ms"` // in a file that was written before
	RoundTripMS float64 `json:"nats_round_trip_ms"`
}

const limitTries = 300

func limits(dir, address string) (l Limits, err error) {
	if l.SyncMS, err = syncTime(filepath.Join(dir, "sync")); err != nil {
		return l, err
	}
	l.RoundTripMS, err = roundTrip(address)
	return l, err
}

func syncTime(name string) (float64, error) {
	const block = 4096
	file, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer os.Remove(name)
	defer file.Close()
	if _, err := file.Write(make([]byte, block*limitTries)); err != nil {
		return 0, err
	}
	if err := file.Sync(); err != nil {
		return 0, err
	}
	data := bytes.Repeat([]byte{1}, block)
	return median(limitTries, func(i int) error {
		_, err := file.WriteAt(data, int64(i)*block)
		return errors.Join(err, syscall.Fdatasync(int(file.Fd())))
	})
}

func roundTrip(address string) (float64, error) {
	asks, err := nats.Connect("nats://" + address)
	if err != nil {
		return 0, err
	}
	defer asks.Close()
	answers, err := nats.Connect("nats://" + address)
	if err != nil {
		return 0, err
	}
	defer answers.Close()
	if _, err := answers.Subscribe("compare.echo", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		return 0, err
	}
	if err := answers.Flush(); err != nil {
		return 0, err
	}
	body := make([]byte, 256)
	return median(limitTries, func(int) error {
		_, err := asks.Request("compare.echo", body, time.Second)
		return err
	})
}

// median is how long something takes, in milliseconds.
func median(times int, does func(i int) error) (float64, error) {
	var all []float64
	for i := range times {
		began := time.Now()
		if err := does(i); err != nil {
			return 0, err
		}
		all = append(all, float64(time.Since(began))/float64(time.Millisecond))
	}
	slices.Sort(all)
	return bench.Median(all), nil
}
