package plans

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/carillon-cron/carillon/internal/control/caller"
)

const (
	// senderGrace is how long a sender may be waited for in all, whatever it sends: to say a
	// byte now and then is not to send a plan, and holds one of the few places.
	senderGrace = 20 * time.Second
	// senderRate is how many bytes a second of further waiting are worth.
	senderRate = 8 << 10
)

// paced is the text of a plan whose sender is waited for only as long as it goes on: for
// senderGrace, and a second more for each senderRate bytes. What the node itself needs for
// what has come does not count.
type paced struct {
	from   io.Reader
	bytes  int64
	waited time.Duration
}

// Read implements io.Reader.
func (p *paced) Read(b []byte) (int, error) {
	begun := time.Now()
	n, err := p.from.Read(b)
	p.waited += time.Since(begun)
	p.bytes += int64(n)
	most := senderGrace + time.Duration(p.bytes)*time.Second/senderRate
	if err == nil && p.waited > most || errors.Is(err, os.ErrDeadlineExceeded) {
		return n, &caller.SlowError{Why: fmt.Sprintf("the plan came too slowly: %d bytes in %s; a sender is waited for %s, and a second more for each %d bytes: send it again, all of it at once",
			p.bytes, p.waited.Round(time.Second), senderGrace, senderRate)}
	}
	return n, err
}
