package busclient

// What leaves by a lane over a socket that takes only part of it: whole, in order, and nobody waits.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/stalltest"
	"pgregory.net/rapid"
)

// socketPair is two ends of a connection whose system buffers are small.
func socketPair(t testing.TB) (near, far *net.TCPConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	accepted, err := l.Accept()
	require.NoError(t, err)
	near, far = dialled.(*net.TCPConn), accepted.(*net.TCPConn)
	require.NoError(t, near.SetWriteBuffer(4<<10))
	require.NoError(t, far.SetReadBuffer(64<<10))
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// opaque is a connection that cannot be written to without waiting, as those are that others wrap.
type opaque struct{ net.Conn }

func newOutlet(t testing.TB, socket net.Conn) *outlet {
	var drains sync.WaitGroup
	o := &outlet{}
	o.init(socket, &drains, &life{})
	t.Cleanup(func() {
		o.close()
		socket.Close()
		drains.Wait()
	})
	return o
}

// readOperations reads operations until one is END, slowly: the words of PINGs, and "<subject> <data's first word>" of PUBs.
func readOperations(from io.Reader, slow int) (operations []string, err error) {
	r := bufio.NewReaderSize(from, 16+slow)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return operations, err
		}
		words := strings.Fields(line)
		switch words[0] {
		case "END":
			return operations, nil
		case "PUB":
			size, err := strconv.Atoi(words[len(words)-1])
			if err != nil {
				return operations, err
			}
			data := make([]byte, size+len(crlf))
			if _, err := io.ReadFull(r, data); err != nil {
				return operations, err
			}
			number, rest, _ := strings.Cut(string(data[:size]), "x")
			if string(data[size:]) != crlf || strings.Trim(rest, "x") != "" {
				return operations, fmt.Errorf("torn: %q", data)
			}
			operations = append(operations, words[1]+" "+number)
		case "PING":
			operations = append(operations, "PING "+words[1])
		default:
			return operations, fmt.Errorf("torn: %q", line)
		}
	}
}

func TestAnOutletWritesAllInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		near, far := socketPair(t)
		defer near.Close()
		defer far.Close()
		var socket net.Conn = near
		if rapid.Bool().Draw(rt, "opaque") {
			socket = opaque{near}
		}
		o := newOutlet(t, socket)
		senders, each := rapid.IntRange(1, 4).Draw(rt, "senders"), rapid.IntRange(1, 30).Draw(rt, "messages")
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 64), rapid.IntRange(0, 100_000)), each, each).Draw(rt, "sizes")
		cork := rapid.Bool().Draw(rt, "cork")
		slow := rapid.IntRange(0, 4096).Draw(rt, "slow")

		type result struct {
			operations []string
			err        error
		}
		read := make(chan result, 1)
		go func() {
			operations, err := readOperations(far, slow)
			read <- result{operations, err}
		}()
		send(rt, o, senders, sizes, cork)
		require.NoError(rt, o.write([]byte("END\r\n"), clientBytesMax))
		got := await(t, read)
		require.NoError(rt, got.err)
		require.Len(rt, got.operations, (senders+1)*each)
		next := map[string]int{}
		for _, operation := range got.operations {
			who, number, _ := strings.Cut(operation, " ")
			require.Equal(rt, strconv.Itoa(next[who]), number, who)
			next[who]++
		}
	})
}

// send sends by several at once, and pings as NATS's client would.
func send(t require.TestingT, o *outlet, senders int, sizes []int, cork bool) {
	var all sync.WaitGroup
	failures := make(chan error, senders+1)
	for sender := range senders {
		all.Go(func() {
			for i, size := range sizes {
				if cork && sender == 0 && i%3 == 0 {
					o.cork()
				}
				reply := strings.Repeat("r", i%2)
				if err := o.publish(fmt.Sprint("s", sender), reply, nil, []byte(strconv.Itoa(i)+strings.Repeat("x", size))); err != nil {
					failures <- err
				}
				if cork && sender == 0 && (i%3 == 2 || i == len(sizes)-1) {
					o.uncork()
				}
			}
		})
	}
	all.Go(func() {
		for i := range sizes {
			if err := o.write(fmt.Appendf(nil, "PING %d\r\n", i), clientBytesMax); err != nil {
				failures <- err
			}
		}
	})
	all.Wait()
	close(failures)
	for err := range failures {
		require.NoError(t, err)
	}
}

// holds has an outlet take it that so many bytes wait: to copy as much would take a busy machine a second.
func (o *outlet) holds(bytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting.bytes = bytes
}

// fullOutlet takes no more, since nobody reads at the far end of its socket. It is not given up yet.
func fullOutlet(t *testing.T) (near, far *net.TCPConn, o *outlet) {
	data := make([]byte, 4<<20)
	for range 20 {
		near, far = socketPair(t)
		o = newOutlet(t, near)
		began, err := time.Now(), o.publish("x", "", nil, data)
		o.holds(outboxBytesMax - 3*len(data))
		for err == nil {
			watch := stalltest.During(t)
			err = o.publish("x", "", nil, data)
			require.Less(t, watch.Took(), writeTimeout)
		}
		own := o.write([]byte("PONG\r\n"), clientBytesMax)
		if time.Since(began) > writeTimeout {
			continue // a busy machine: it may have been given up meanwhile
		}
		require.ErrorIs(t, err, ErrTooManyInFlight)
		require.NoError(t, own, "the client's own is always taken")
		return near, far, o
	}
	require.Fail(t, "this machine is too busy to tell")
	return near, far, o
}

// Who reads no more holds up nobody: what waits is bounded, and the connection is given up, so that NATS's client makes another.
func TestAnOutletGivesUpAStuckSocket(t *testing.T) {
	near, far, o := fullOutlet(t)
	t.Parallel() // now it mostly waits
	failed := make(chan error, 1)
	go func() {
		_, err := near.Read(make([]byte, 1))
		failed <- o.cause(err)
	}()
	require.ErrorContains(t, await(t, failed), "i/o timeout")
	require.ErrorIs(t, o.publish("x", "", nil, nil), ErrBusDown)
	require.ErrorIs(t, o.write([]byte("PING\r\n"), clientBytesMax), net.ErrClosed)
	require.True(t, o.waiting.empty())
	_, err := io.Copy(io.Discard, far)
	require.ErrorIs(t, err, syscall.ECONNRESET, "the other end hears of it at once, not behind what the system still has to send")
}

// A cork keeps little together, and refuses nothing that an idle socket would take.
func TestACorkedOutletOffersWhatIsMuch(t *testing.T) {
	near, far := socketPair(t)
	o := newOutlet(t, near)
	go func() { _, _ = io.Copy(io.Discard, far) }()
	o.cork()
	for range outboxMessagesMax {
		require.NoError(t, o.publish("x", "", nil, nil))
	}
	data := make([]byte, 1<<20)
	for range outboxBytesMax/len(data) + 2 {
		eventually(t, "it is taken", func() bool { return o.publish("x", "", nil, data) == nil })
	}
}

// Where large messages fill what may wait, small ones still may.
func TestSmallMessagesHaveRoomBehindLargeOnes(t *testing.T) {
	p := &pile{bytes: outboxBytesMax}
	require.False(t, p.room(smallBytes+1))
	require.True(t, p.room(smallBytes))
	p.bytes += smallReserve
	require.False(t, p.room(1))
	require.True(t, (&pile{bytes: 1, messages: outboxMessagesMax - 1}).room(0))
	require.False(t, (&pile{bytes: 1, messages: outboxMessagesMax}).room(0), "however small")
}

// An uncork whose cork was another connection's leaves nothing waiting, neither then nor later.
func TestAnUncorkOfAnotherConnectionsCork(t *testing.T) {
	near, far := socketPair(t)
	o := newOutlet(t, near)
	o.uncork()
	require.NoError(t, o.write([]byte("PING 1\r\nEND\r\n"), clientBytesMax))
	require.NoError(t, far.SetReadDeadline(time.Now().Add(soon)))
	operations, err := readOperations(far, 0)
	require.NoError(t, err)
	require.Equal(t, []string{"PING 1"}, operations)
}

// NATS's client, whose words are never refused, waits where much of them waits, until a piece of it is taken or the connection has ended. All who wait
// hear of it: the client locks its connection meanwhile (F9).
func TestTheClientWaitsWhereMuchWaits(t *testing.T) {
	for name, end := range map[string]struct {
		by  func(*outlet)
		err error
	}{
		"taken": {func(o *outlet) { o.next(nil, nil) }, nil},
		"ended": {(*outlet).close, net.ErrClosed},
	} {
		near, _ := socketPair(t)
		o := newOutlet(t, near)
		o.draining = true // as if a goroutine wrote
		require.NoError(t, o.write(make([]byte, 1<<20), clientBytesMax))
		o.holds(clientBytesMax)
		require.NoError(t, o.write([]byte("PING\r\n"), clientBytesMax), name)
		ended := make(chan error, 2)
		for range cap(ended) {
			go func() { ended <- o.write([]byte("PONG\r\n"), clientBytesMax) }()
		}
		require.Never(t, func() bool { return len(ended) > 0 }, 20*time.Millisecond, tick, name)
		end.by(o)
		for range cap(ended) {
			require.ErrorIs(t, await(t, ended), end.err, name)
		}
	}
}

// What is published, as much of it as may wait, has NATS's client wait for nothing: it locks its connection, and then none of its requests is read
// and nobody subscribes (F9, L2).
func TestTheClientDoesNotWaitForWhatIsPublished(t *testing.T) {
	near, _ := socketPair(t)
	o := newOutlet(t, near)
	o.draining = true // as if a goroutine wrote
	o.holds(outboxBytesMax - 3<<20)
	for _, size := range []int{1 << 20, smallBytes} {
		for o.publish("x", "", nil, make([]byte, size)) == nil {
		}
	}
	require.Greater(t, o.waiting.bytes, outboxBytesMax+smallReserve-1<<20)
	written := make(chan error, 1)
	go func() { written <- o.write([]byte("PING\r\n"), clientBytesMax) }()
	require.NoError(t, await(t, written))
}

// A pile counts what is in it, whatever was taken of it: else a connection that is always behind would refuse all at last.
func TestAPileCountsWhatIsInIt(t *testing.T) {
	p := &pile{}
	for range 5 {
		p.set(append(p.end(), make([]byte, bufferKeptMax/2)...), 1)
	}
	var left [][2]int
	for !p.empty() {
		p.take()
		left = append(left, [2]int{p.messages, p.bytes})
	}
	require.Equal(t, [][2]int{{3, 3 * bufferKeptMax / 2}, {1, bufferKeptMax / 2}, {0, 0}}, left, "two are a piece")
}

// lastDeadline is a socket that remembers the last deadline for writing.
type lastDeadline struct {
	*net.TCPConn
	last atomic.Int64 // 0: none
}

func (d *lastDeadline) SetWriteDeadline(t time.Time) error {
	d.last.Store(0)
	if !t.IsZero() {
		d.last.Store(t.UnixNano())
	}
	return d.TCPConn.SetWriteDeadline(t)
}

func (d *lastDeadline) SetDeadline(t time.Time) error {
	return errors.Join(d.SetReadDeadline(t), d.SetWriteDeadline(t))
}

// A connection whose server was slow for a while is as good as before, however long after, and keeps no memory for it (F9, F30).
func TestWhatHadToWaitLeavesNothingBehind(t *testing.T) {
	near, far := socketPair(t)
	socket := &lastDeadline{TCPConn: near}
	o := newOutlet(t, socket)
	require.NoError(t, o.publish("x", "", nil, make([]byte, 4*bufferKeptMax)))
	require.NoError(t, o.publish("x", "", nil, make([]byte, 4*bufferKeptMax)))
	o.mu.Lock()
	require.True(t, o.draining)
	o.mu.Unlock()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	eventually(t, "all is written", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return !o.draining
	})
	require.Zero(t, socket.last.Load(), "what is sent from now on has its own time")
	require.LessOrEqual(t, cap(o.waiting.last.operations)+cap(o.waiting.spare), 2*bufferKeptMax)
}
