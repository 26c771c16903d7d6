package shim

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Config says where the shim is and how it is started.
type Config struct {
	// Dir is the shim's directory. It must exist.
	Dir string
	// Command is the argv that starts a shim; its own flags are added.
	Command []string
	// Idle is how long a shim lives without task and agent. Zero: one minute.
	Idle time.Duration
}

// Client is an agent's connection to the shim. Its methods may be called from
// any goroutine, Next from one only.
type Client struct {
	conn net.Conn
	r    *bufio.Reader

	mu sync.Mutex // guards writes
}

// Attach connects to the shim of cfg.Dir and starts one if there is none. It
// returns what the shim knows.
func Attach(ctx context.Context, cfg Config) (*Client, Hello, error) {
	c, hello, err := connect(ctx, cfg.Dir)
	if err == nil {
		return c, hello, nil
	}
	for tries := 0; ; tries++ {
		if err := launch(ctx, cfg); err != nil {
			return nil, Hello{}, err
		}
		if c, hello, err = connect(ctx, cfg.Dir); err == nil {
			return c, hello, nil
		}
		if ctx.Err() != nil || tries == 2 {
			return nil, Hello{}, fmt.Errorf("attach to the shim in %s: %w", cfg.Dir, err)
		}
	}
}

// launch starts a shim. The process that it waits for ends once the shim listens.
func launch(ctx context.Context, cfg Config) error {
	if len(cfg.Command) == 0 {
		return errors.New("start shim: no command is configured")
	}
	args := append(append([]string{}, cfg.Command[1:]...), "--dir", cfg.Dir)
	if cfg.Idle > 0 {
		args = append(args, "--idle", cfg.Idle.String())
	}
	cmd := exec.CommandContext(ctx, cfg.Command[0], args...)
	cmd.WaitDelay = time.Second
	// A signal that a terminal sends to the agent's group is not for the shim.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("start shim: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// connect dials the socket by way of the directory's descriptor, because the
// path of a Unix socket may have no more than 107 bytes.
func connect(ctx context.Context, dir string) (*Client, Hello, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, Hello{}, err
	}
	defer func() { _ = d.Close() }()
	var dialer net.Dialer
	path := "/proc/self/fd/" + strconv.Itoa(int(d.Fd())) + "/" + socketName
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, Hello{}, err
	}
	c := &Client{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	e, err := c.Next()
	if err == nil && e.Hello == nil {
		err = errors.New("the shim did not say hello")
	}
	if err != nil {
		_ = conn.Close()
		return nil, Hello{}, err
	}
	_ = conn.SetReadDeadline(time.Time{})
	return c, *e.Hello, nil
}

// Next waits for news. It returns an error once the connection has ended.
func (c *Client) Next() (Event, error) {
	var e Event
	err := readFrame(c.r, &e)
	return e, err
}

// Start starts commands. An error means that the connection is of no use any
// more and nothing is known of the commands until the next Attach.
func (c *Client) Start(specs []Spec) error { return c.send(request{Start: specs}) }

// Kill ends commands. Unknown ones are ignored.
func (c *Client) Kill(kills []Kill) error { return c.send(request{Kill: kills}) }

// Forget drops exit records.
func (c *Client) Forget(keys []string) error { return c.send(request{Forget: keys}) }

// Leave tells the shim that the agent goes for good, and closes the connection.
func (c *Client) Leave() error { return errors.Join(c.send(request{Leave: true}), c.conn.Close()) }

// Close closes the connection; commands and shim go on.
func (c *Client) Close() error { return c.conn.Close() }

func (c *Client) send(q request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := writeFrame(c.conn, q); err != nil {
		return fmt.Errorf("shim: %w", err)
	}
	return nil
}
