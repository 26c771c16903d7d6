package cli

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/job"
)

// loginVerbs are logins by an identity provider.
type loginVerbs struct{ *call }

// loginLimit is how long a login by a browser may take.
const loginLimit = 10 * time.Minute

func (lv loginVerbs) loginCommand() *cobra.Command {
	var device, noBrowser bool
	cmd := &cobra.Command{
		Use: "login", GroupID: groupHere, Args: noArgs,
		Short: "Log in by the cluster's identity provider",
		Long: "Log in by the cluster's identity provider, in a browser of this host; with --device in\n" +
			"a browser of any other, by a code. The login is kept in ~/.config/carillon/credentials.json\n" +
			"(0600), for this server. It is shown to the API until it ends, where no token is given by\n" +
			"--token-file, " + envTokenFile + " or " + envToken + ".",
		Example: "  carillon login --server https://carillon.example.org:8420\n  carillon login --device\n  carillon auth whoami",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := lv.clientWith("") // what is kept may have ended
			if err != nil {
				return err
			}
			defer c.Close()
			name := lv.serverName()
			if name == "" {
				return usagef("on a local socket your account counts, and there is nothing to log in to; name the server by its URL with --server or %s", envServer)
			}
			// Before the trouble of a login: it has to be kept.
			kept, err := readCredentials(lv.credentialsPath())
			if err != nil {
				return err
			}
			ways, err := c.Auth.LoginWays(cmd.Context())
			switch {
			case err != nil:
				return err
			case ways.Issuer == "":
				return fmt.Errorf("the cluster has no identity provider; show a token, by --token-file or %s: %w", envToken, job.ErrConflict)
			}
			begin := lv.byBrowser
			if device {
				begin = lv.byDevice
			}
			v, err := begin(cmd.Context(), c, !noBrowser)
			if errors.Is(err, client.ErrTokenInClear) {
				return usagef("%w with --server or %s", err, envServer)
			} else if err != nil {
				return err
			}
			kept.Logins[name] = login{Token: v.Token, Name: v.Name, Issuer: v.Issuer, ExpiresAt: v.ExpiresAt}
			if err := kept.write(); err != nil {
				return err
			}
			return lv.printLogin(name, &v)
		},
	}
	cmd.Flags().BoolVar(&device, "device", false, "log in by a code, in a browser of another device")
	cmd.Flags().BoolVar(&noBrowser, "no-browser", false, "print the address only, and open no browser")
	return cmd
}

// printLogin tells who has logged in; the token stays in its file.
func (lv loginVerbs) printLogin(server string, v *api.Login) error {
	if lv.asObject() {
		shown := *v
		shown.Token = ""
		return lv.printValue(shown)
	}
	fmt.Fprintf(lv.out, "logged in at %s as %s until %s\n", server, v.Name, lv.stamp(v.ExpiresAt))
	if len(v.Groups) > 0 {
		fmt.Fprintf(lv.out, "groups: %s\n", strings.Join(v.Groups, ", "))
	}
	return nil
}

// newSecret returns 256 random bits as text.
func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails: see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// callback is what a browser came back with.
type callback struct {
	code, issuer string
	err          error
}

// byBrowser logs in by a browser of this host, which comes back to a port of loopback.
func (lv loginVerbs) byBrowser(ctx context.Context, c *client.Client, open bool) (api.Login, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, loginLimit, fmt.Errorf("nobody has logged in within %s", loginLimit))
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return api.Login{}, fmt.Errorf("listen for the browser: %w", err)
	}
	verifier := newSecret()
	sum := sha256.Sum256([]byte(verifier))
	req := api.LoginRequest{
		Redirect: "http://" + l.Addr().String() + "/callback", State: newSecret(), Nonce: newSecret(), Challenge: base64.RawURLEncoding.EncodeToString(sum[:]),
	}
	got := make(chan callback, 1)
	srv := &http.Server{Handler: answering(l.Addr().String(), req.State, got), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(l) // it ends when it is closed
	}()
	defer func() { _ = srv.Close(); <-served }()
	to, err := c.Auth.BeginLogin(ctx, req)
	if err != nil {
		return api.Login{}, err
	}
	if u, err := url.Parse(to.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return api.Login{}, fmt.Errorf("the server sends the browser to %q, which is no address of the web", to.URL)
	}
	lv.note("log in in a browser of this host:\n\n  %s\n", to.URL)
	if open {
		lv.open(ctx, to.URL)
	}
	select {
	case <-ctx.Done():
		return api.Login{}, context.Cause(ctx)
	case back := <-got:
		if back.err != nil {
			return api.Login{}, back.err
		}
		// The browser gets its answer before the port is closed.
		_ = srv.Shutdown(ctx)
		return c.Auth.FinishLogin(ctx, api.LoginAnswer{Code: back.code, Issuer: back.issuer, Redirect: req.Redirect, Nonce: req.Nonce, Verifier: verifier})
	}
}

// answering takes the browser that comes back. Only the one whose login began here is
// listened to, and once.
func answering(host, state string, got chan<- callback) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Connection", "close")
		q := r.URL.Query()
		if r.Host != host || r.Method != http.MethodGet || r.URL.Path != "/callback" || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1 {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintln(w, "This is not the login that began here.")
			return
		}
		back := callback{code: q.Get("code"), issuer: q.Get("iss")}
		switch {
		case q.Get("error") == "access_denied":
			back.err = &exitError{code: exitNotAllowed, err: errors.New("the identity provider has not let you in: you, or it, said no")}
		case q.Has("error") || back.code == "":
			back.err = &exitError{code: exitNotAllowed, err: errors.New("the identity provider has not let you in; begin anew")}
		}
		select {
		case got <- back:
			fmt.Fprintln(w, "Carillon has your answer: go on where you began. You may close this page.")
		default:
			fmt.Fprintln(w, "This login has been answered already.")
		}
	})
}

// open opens a browser where there is one. In vain is no harm: the address is printed.
func (lv loginVerbs) open(ctx context.Context, address string) {
	program := "xdg-open"
	switch {
	case runtime.GOOS == "darwin":
		program = "open"
	case lv.env["DISPLAY"] == "" && lv.env["WAYLAND_DISPLAY"] == "":
		return
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, address)
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }() // it goes its own way
	}
}

// byDevice logs in by a code that somebody confirms in a browser of another device.
func (lv loginVerbs) byDevice(ctx context.Context, c *client.Client, _ bool) (api.Login, error) {
	d, err := c.Auth.BeginDeviceLogin(ctx)
	if err != nil {
		return api.Login{}, err
	}
	limit := time.Duration(d.ExpiresSeconds) * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("nobody has confirmed the code within %s", limit))
	defer cancel()
	lv.note("log in in a browser of any device:\n\n  %s\n\nand give the code %s", d.Page, d.UserCode)
	if d.Direct != "" {
		lv.note("(or %s, where the code has to be the same)", d.Direct)
	}
	every := max(time.Duration(d.IntervalSeconds)*time.Second, time.Second)
	for {
		select {
		case <-ctx.Done():
			return api.Login{}, context.Cause(ctx)
		case <-time.After(every):
		}
		v, err := c.Auth.FinishDeviceLogin(ctx, d.Code)
		switch {
		case err != nil:
			return api.Login{}, err
		case v.Slower:
			every += 5 * time.Second // RFC 8628, 3.5
		case !v.Pending:
			return v, nil
		}
	}
}

func (lv loginVerbs) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout", GroupID: groupHere, Args: noArgs,
		Short:   "End the login at the server",
		Long:    "End the login at the server: what was kept of it opens nothing any more. You stay logged\nin at the identity provider.",
		Example: "  carillon logout --server https://carillon.example.org:8420",
		RunE: func(cmd *cobra.Command, _ []string) error {
			name := lv.serverName()
			kept, err := readCredentials(lv.credentialsPath())
			if err != nil {
				return err
			}
			l, ok := kept.Logins[name]
			if !ok {
				return fmt.Errorf("a login at %s: %w", orText(name, lv.server), job.ErrNotFound)
			}
			delete(kept.Logins, name)
			if err := kept.write(); err != nil {
				return err
			}
			c, err := lv.clientWith(l.Token)
			if err != nil {
				return err
			}
			defer c.Close()
			var refused *client.Error
			err = c.Auth.EndSession(cmd.Context())
			if err != nil && (!errors.As(err, &refused) || refused.Status != http.StatusUnauthorized) { // else it has ended already
				return fmt.Errorf("the login is not kept here any more, but the server was not told, where it ends at %s: %w", lv.stamp(l.ExpiresAt), err)
			}
			return lv.printOutcome(outcome{"login", l.Name, "ended"})
		},
	}
}
