package node

// bell wakes a goroutine that is to look at what waits for it. It holds one token while that is due.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// attend is a goroutine that does steps while there is work, and then waits for the bell. An error is fatal.
func (b bell) attend(stop <-chan struct{}, step func() (worked bool, err error)) error {
	for {
		worked, err := step()
		switch {
		case err != nil || closed(stop):
			return err
		case worked:
			continue
		}
		select {
		case <-stop:
			return nil
		case <-b:
		}
	}
}
