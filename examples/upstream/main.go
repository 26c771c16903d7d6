// Command upstream sends a plan, and is called back with what becomes of its tasks. It ends when
// the plan has.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
)

const closing = `<plan id="close-2027-01" upstream="erp" callback=%q>
  <task id="totals" type="closing" priority="5"><parameter name="month">2027-01</parameter></task>
  <task id="mail" type="closing"><after task="totals"/></task>
</plan>`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	c, err := client.New(client.Config{Server: os.Getenv("CARILLON_SERVER")})
	if err != nil {
		return err
	}
	spec := job.QueueSpec{Command: []string{"sh", "-c", `echo "$CARILLON_ITEM_TASK $CARILLON_PAYLOAD"`}}
	if _, err := c.Queues.Register(ctx, job.Key{Namespace: "default", Name: "closing"}, spec); err != nil {
		return err
	}
	// Done once, and kept, by a real upstream: it is shown once.
	secret, err := c.Plans.Secret(ctx, "default", "erp", "", api.Order{})
	if err != nil {
		return err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret.Secret, "whsec_"))
	if err != nil {
		return err
	}
	u := &upstream{key: key, seen: map[int64]bool{}, ended: make(chan struct{})}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: u, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }() // until it is closed
	defer func() {                      // the last call gets its answer
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
	}()
	// To send it again is safe, whatever became of the answer: it is recognised.
	text := fmt.Sprintf(closing, "http://"+l.Addr().String()+"/carillon")
	receipt, err := c.Plans.Send(ctx, "default", plan.XML, strings.NewReader(text))
	if err != nil {
		return err
	}
	fmt.Printf("plan %s/%s: %d tasks\n", receipt.Upstream, receipt.ID, receipt.Tasks)
	select {
	case <-u.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// call is a callback; docs/plans.md has all of it.
type call struct {
	Type string
	Data struct {
		First int64
		Tasks []struct {
			Seq                 int64
			Task, State, Reason string
		}
		Counts map[string]int
	}
}

type upstream struct {
	key   []byte
	ended chan struct{}

	mu sync.Mutex
	// seen are the numbers of changes that were told: a call may come twice.
	seen map[int64]bool
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err == nil {
		err = u.verify(r.Header, body)
	}
	var c call
	if err == nil {
		err = json.Unmarshal(body, &c)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, t := range c.Data.Tasks {
		if !u.seen[t.Seq] {
			u.seen[t.Seq] = true
			fmt.Printf("%d: %s is %s %s\n", t.Seq, t.Task, t.State, t.Reason)
		}
	}
	if c.Type == "plan.ended" && !u.seen[c.Data.First] {
		u.seen[c.Data.First] = true
		fmt.Printf("ended: %d succeeded\n", c.Data.Counts["succeeded"])
		defer close(u.ended)
	}
	// An answer of 200 says that all of it was taken.
}

// verify checks a call as the Standard Webhooks specification says.
func (u *upstream) verify(h http.Header, body []byte) error {
	id, at := h.Get("webhook-id"), h.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if off := time.Since(time.Unix(seconds, 0)); err != nil || off > 5*time.Minute || off < -5*time.Minute {
		return errors.New("the call is too old")
	}
	sum := hmac.New(sha256.New, u.key)
	fmt.Fprintf(sum, "%s.%s.%s", id, at, body)
	for _, one := range strings.Fields(h.Get("webhook-signature")) {
		got, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(one, "v1,"))
		if err == nil && hmac.Equal(got, sum.Sum(nil)) {
			return nil
		}
	}
	return errors.New("the signature is not ours")
}
