package engine

// Pebble as an engine: one Pebble database per state, tuned and counted. It is the only file that opens one. Its write-ahead
// log is off: the Raft log is the log (design section 5).

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// blockCacheBytes is the memory for blocks read; the state itself may be larger than memory.
	blockCacheBytes = 32 << 20
	// memTableBytes is above what the store lets gather before it flushes (flushBytes), since the store knows what it made durable.
	memTableBytes = 32 << 20
	// memTablesMax bounds the memory for writes that wait for a flush; beyond it writes wait (backlog). Pebble itself never has them wait.
	memTablesMax       = 3
	memTablesUnbounded = math.MaxInt32
	// cacheBytes bounds both: Pebble takes from its cache what memtables use, and would leave none for blocks.
	cacheBytes = blockCacheBytes + memTablesMax*memTableBytes
	// filesMax bounds open files.
	filesMax = 128
	// levelZeroDepth is twice as many flushes as lie above each other when Pebble begins to merge them, since it counts each twice. Each merge rewrites
	// the level below as far as they reach, which is all of it where keys come in no order; who looks for a key pays with a look into one more filter
	// for each.
	levelZeroDepth = 8
	// levelZeroMax is how many there may be until writes wait: any number. Compactions may have no room for a long time, and whoever reads waits for
	// who writes (Gather). Who applies looks up each key, and so gets slower by itself the more there are.
	levelZeroMax = math.MaxInt32
	// filterBitsPerKey makes one look-up in a hundred for a key that is not there read a block in vain.
	filterBitsPerKey = 10
)

// Pebble is the Engine that keeps its databases in a folder, by Pebble.
type Pebble struct {
	folder folder
	logger *slog.Logger
	broken func()      // told that a database has failed
	fatal  func(error) // told that the process must end
	number uint64      // of the state in use
}

var _ Engine = (*Pebble)(nil)

// NewPebble makes the engine of a folder, which is made when it is opened if it is not there; nothing else may be in it. The
// logger hears of background errors. broken is called once a database has failed, maybe by a read: it must not wait, nor use the
// database. fatal must end the process; without one, or if it returns, there is a panic.
func NewPebble(fs vfs.FS, dir string, logger *slog.Logger, broken func(), fatal func(error)) *Pebble {
	return &Pebble{folder: folder{fs, dir}, logger: logger, broken: broken, fatal: fatal}
}

// Open opens the newest complete state.
func (p *Pebble) Open() (DB, error) {
	number, err := p.folder.open()
	if err != nil {
		return nil, fmt.Errorf("open the store's folder %s: %w", p.folder.dir, err)
	}
	if err := p.folder.listed(number); err != nil {
		return nil, err
	}
	p.number = number
	return p.open(number)
}

// RemoveLeftovers removes all states but the one in use.
func (p *Pebble) RemoveLeftovers() error { return p.folder.removeOthers(p.number) }

// Prepare opens the next state, empty.
func (p *Pebble) Prepare() (DB, error) {
	number := p.number + 1
	if err := p.folder.fs.RemoveAll(p.folder.path(number)); err != nil {
		return nil, fmt.Errorf("remove an earlier attempt: %w", err)
	}
	return p.open(number)
}

// Switch marks the prepared state complete.
func (p *Pebble) Switch(prepared DB) error {
	number := prepared.(*pebbleDB).number
	if err := p.folder.markComplete(number); err != nil {
		return err
	}
	p.number = number
	return nil
}

func (p *Pebble) open(number uint64) (DB, error) {
	d := &pebbleDB{fs: p.folder.fs, dir: p.folder.path(number), number: number, logger: p.logger, broken: p.broken, fatal: p.fatal, room: newRoom(p.logger), failed: make(chan struct{})}
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	db, err := pebble.Open(d.dir, d.options(cache))
	if err != nil {
		return nil, fmt.Errorf("open the store in %s: %w", d.dir, d.namesOptions(err, cache))
	}
	d.db, d.pebbleReader = db, pebbleReader{db, d.unread}
	return d, nil
}

// namesOptions names the file of the options that were in force before, if that is why Pebble does not open: Pebble says only what it
// could not read in it, and which file to look at is what an operator needs (D1).
func (d *pebbleDB) namesOptions(err error, cache *pebble.Cache) error {
	found, peekErr := pebble.Peek(d.dir, d.fs)
	if peekErr != nil || found.OptionsFilename == "" {
		return err
	}
	file, openErr := d.fs.Open(found.OptionsFilename)
	if openErr != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	before, readErr := io.ReadAll(file)
	opts := d.options(cache)
	opts.EnsureDefaults()
	if readErr == nil && opts.CheckCompatibility(d.dir, string(before)) == nil {
		return err
	}
	return fmt.Errorf("damaged store file %s: %w", found.OptionsFilename, err)
}

type pebbleDB struct {
	pebbleReader
	db     *pebble.DB
	fs     vfs.FS
	dir    string
	number uint64 // of the state that it holds
	logger *slog.Logger
	broken func()
	fatal  func(error)
	room   *room

	backlog backlog

	failOnce sync.Once
	failed   chan struct{}
	failure  error // read after failed is closed
}

func (d *pebbleDB) options(cache *pebble.Cache) *pebble.Options {
	opts := &pebble.Options{
		FS:                          roomFS{markerFS{d.fs}, d.dir, d.room},
		Cache:                       cache,
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		MaxOpenFiles:                filesMax,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: memTablesUnbounded,
		L0CompactionThreshold:       levelZeroDepth,
		L0StopWritesThreshold:       levelZeroMax,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		Logger:                      pebbleLogger{d.logger, d.fatal},
		EventListener: &pebble.EventListener{
			BackgroundError: d.background,
			FlushEnd:        d.flushEnded,
			CompactionEnd:   d.room.ended,
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				d.fail(fmt.Errorf("damaged store file %s: %w", info.Path, info.Details))
			},
		},
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(filterBitsPerKey)
	}
	return opts
}

var _ waiter = (*pebbleBatch)(nil)

// batchKeptBytes is up to which size a batch's memory is kept for a batch to come: above what the store gathers, so that it does not grow
// step by step each time.
const batchKeptBytes = 8 << 20

func (d *pebbleDB) NewBatch() Batch {
	return &pebbleBatch{into: d, batch: d.db.NewBatch(pebble.WithMaxRetainedSizeBytes(batchKeptBytes))}
}

func (d *pebbleDB) NewView() View {
	snapshot := d.db.NewSnapshot()
	return pebbleView{pebbleReader{snapshot, d.unread}, snapshot}
}

func (d *pebbleDB) Flush() error {
	part, err := d.seal()
	if err != nil {
		return err
	}
	return d.await(part)
}

// background takes an error of work in the background. A full disk is the end for a flush only, and is told of by flushEnded: Pebble does
// not say here whose error it is. So is too many open files.
func (d *pebbleDB) background(err error) {
	if !passes(err) {
		d.fail(err)
	}
}

func (d *pebbleDB) flushEnded(info pebble.FlushInfo) {
	if d.room.flushed(info.Err) {
		d.fail(info.Err)
	}
}

// unread takes an error of a read, if it is one. Pebble tells of damage itself, and of a disk that gives nothing only who reads: to go on would leave some
// keys without an answer for as long as this node leads, while others have them (F20). Too many open files pass.
func (d *pebbleDB) unread(err error) error {
	if err != nil && !passes(err) {
		d.fail(fmt.Errorf("a read failed: %w", err))
	}
	return err
}

// fail remembers the first error after which nothing more can be made durable. Pebble calls it with its lock held.
func (d *pebbleDB) fail(err error) {
	d.failOnce.Do(func() {
		d.failure = fmt.Errorf("the store's disk failed: %w", err)
		close(d.failed)
		d.broken()
	})
}

func (d *pebbleDB) Err() error {
	select {
	case <-d.failed:
		return d.failure
	default:
		return nil
	}
}

func (d *pebbleDB) Size() Size {
	m := d.db.Metrics()
	return Size{Disk: m.DiskSpaceUsage(), Memory: m.MemTable.Size}
}

func (d *pebbleDB) Close() error {
	close(d.room.closed)
	return d.db.Close()
}

func (d *pebbleDB) Discard() error {
	err := d.Close()
	if removing := d.fs.RemoveAll(d.dir); removing != nil {
		err = errors.Join(err, fmt.Errorf("remove %s: the next start does it: %w", d.dir, removing))
	}
	return err
}

// pebbleReader reads from a database or from a snapshot of it.
type pebbleReader struct {
	from   pebble.Reader
	unread func(error) error // told of an error of the disk's, which it returns
}

func (r pebbleReader) Get(key []byte) ([]byte, error) {
	value, closer, err := r.from.Get(key)
	if err == pebble.ErrNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, r.unread(err)
	}
	own := append(make([]byte, 0, len(value)), value...)
	return own, r.unread(closer.Close())
}

func (r pebbleReader) Scan(from, to []byte, visit func(key, value []byte) (bool, error)) error {
	if to != nil && bytes.Compare(from, to) >= 0 {
		return nil // Pebble takes no bounds that cross
	}
	iter, err := r.from.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return r.unread(err)
	}
	for valid := iter.First(); valid && err == nil; valid = valid && iter.Next() {
		var value []byte
		if value, err = iter.ValueAndErr(); r.unread(err) == nil {
			valid, err = visit(iter.Key(), value)
		}
	}
	if closing := r.unread(iter.Close()); err == nil {
		err = closing // holds the iterator's own errors too
	}
	return err
}

type pebbleView struct {
	pebbleReader
	snapshot *pebble.Snapshot
}

func (v pebbleView) Close() error { return v.snapshot.Close() }

// pebbleBatch keeps the first error, for Commit.
type pebbleBatch struct {
	into   *pebbleDB
	batch  *pebble.Batch
	ranges int // that it deletes
	err    error
}

func (b *pebbleBatch) keep(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *pebbleBatch) Set(key, value []byte) { b.keep(b.batch.Set(key, value, nil)) }
func (b *pebbleBatch) Add(key, value []byte) { b.Set(key, value) }
func (b *pebbleBatch) Delete(key []byte)     { b.keep(b.batch.Delete(key, nil)) }
func (b *pebbleBatch) DeleteRange(from, to []byte) {
	b.ranges++
	b.keep(b.batch.DeleteRange(from, to, nil))
}
func (b *pebbleBatch) Len() int { return b.batch.Len() }

// room is about the memory that it takes once it is committed, and what its ranges count for.
func (b *pebbleBatch) room() int {
	return b.batch.Len() + recordBytes*int(b.batch.Count()) + rangeBytes*b.ranges
}

// await waits until there is memory for it.
func (b *pebbleBatch) await() error {
	if b.err == nil {
		b.err = b.into.admit(b.room())
	}
	return b.err
}

func (b *pebbleBatch) Commit() error {
	if size := b.room(); b.await() == nil {
		b.err = b.batch.Commit(pebble.NoSync)
		b.into.backlog.add(size)
	}
	err := b.err
	b.err, b.ranges = nil, 0
	b.batch.Reset()
	return err
}

func (b *pebbleBatch) Close() { _ = b.batch.Close() } // what it holds was committed, or is given up

// pebbleLogger passes Pebble's errors on and drops its chatter.
type pebbleLogger struct {
	logger *slog.Logger
	fatal  func(error)
}

func (pebbleLogger) Infof(string, ...any) {}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.logger.Warn("store engine", "err", fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble calls it when its manifest could not be written or synced, and goes on as if it had been.
// Stopping the process is what a failed sync asks for (D5); the log has all that is lost. That it is the manifest is in the text: of a
// database that is new Pebble has it in the format, of any other in the error.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	err := errors.New("store engine: " + text)
	if l.fatal != nil && strings.HasPrefix(text, "MANIFEST") { // all else is Pebble's fault, whose trace a panic has
		l.fatal(err)
	}
	panic(err)
}
