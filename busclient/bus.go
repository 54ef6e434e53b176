package busclient

// The seam between this package and a message bus: one connection to it. NATS stands behind it in the product (conn.go), a
// simulated bus in the simulator.

import "time"

// Delivery is one message as the bus delivers it. Data belongs to whoever receives it.
type Delivery struct {
	Subject string
	Reply   string
	Data    []byte
	// NoResponders marks the bus's own word, on the reply subject of a message, that nobody listens where it was sent.
	NoResponders bool
}

// Bus is one connection to the message bus. Its promises are few: a message may be lost, late, repeated or out of order.
// Safe for use by several goroutines.
type Bus interface {
	// Publish sends a message, and returns without waiting for anybody. An error means that it was certainly not sent, or
	// that the connection is lost. It keeps no reference to data. It must not be called with more than MaxPayload bytes.
	Publish(subject, reply string, data []byte) error

	// Subscribe calls h for each message on the subject (wildcards allowed), one at a time per subscription, for as long as
	// the connection lives, over reconnects too. After unsubscribe has returned h runs no more; h must not call it.
	Subscribe(subject string, h func(Delivery)) (unsubscribe func(), err error)

	// MaxPayload is the size in bytes of the largest message that the bus takes now; it may change with a reconnect.
	MaxPayload() int64

	// Up reports whether the connection stands, and since when it has been as it is.
	Up() (up bool, since time.Time)

	// OnStatus has changed called after each change of Up, for as long as the bus lives. It must not block.
	OnStatus(changed func(up bool))

	// Flush returns when the bus has all that was published and knows all that was subscribed before, or with an error
	// after timeout.
	Flush(timeout time.Duration) error

	// OnDelivered has told called when handlers were called with what arrived: see Service.OnDelivered. A bus that is stepped need not.
	OnDelivered(told func(whole bool))

	// Cork keeps what is sent for a moment, until Uncork, to send it together. They are not nested, and may do nothing.
	Cork()
	Uncork()
}
