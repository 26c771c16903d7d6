package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/client"
	"github.com/carillon-cron/carillon/internal/apitoken"
)

// credentials is the file with the logins of this account, by the servers' addresses. It
// is for this account only: who reads it is logged in.
type credentials struct {
	path   string
	Logins map[string]login `json:"logins"`
}

// login is one of them.
type login struct {
	Token     string    `json:"token"`
	Name      string    `json:"name"`
	Issuer    string    `json:"issuer"`
	ExpiresAt time.Time `json:"expiresAt"`
}

const (
	credentialsMode = 0o600
	maxCredentials  = 1 << 20
)

// credentialsPath is where logins are kept; empty: nowhere.
func (ca *call) credentialsPath() string {
	if dir := ca.env["XDG_CONFIG_HOME"]; filepath.IsAbs(dir) {
		return filepath.Join(dir, "carillon", "credentials.json")
	}
	if dir := ca.env["HOME"]; filepath.IsAbs(dir) {
		return filepath.Join(dir, ".config", "carillon", "credentials.json")
	}
	return ""
}

// readCredentials reads the file. One that there is not has no logins.
func readCredentials(path string) (*credentials, error) {
	c := &credentials{path: path, Logins: map[string]login{}}
	if path == "" {
		return c, nil
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return nil, fmt.Errorf("logins: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("logins: %w", err)
	}
	if mode := st.Mode().Perm(); mode&0o077 != 0 {
		return nil, usagef("%s: other accounts may use it (mode %04o), and who reads it is logged in as you; log out, or make it yours with `chmod 600 %s`", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxCredentials))
	if err != nil {
		return nil, fmt.Errorf("logins: %w", err)
	}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("%s is no file of logins: %w; remove it, and log in again", path, err)
	}
	if c.Logins == nil {
		c.Logins = map[string]login{}
	}
	return c, nil
}

// write puts the file in place of the one that is there.
func (c *credentials) write() (err error) {
	if c.path == "" {
		return errors.New("there is no place to keep the login: neither XDG_CONFIG_HOME nor HOME is set")
	}
	dir := filepath.Dir(c.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep the login: %w", err)
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("keep the login: %w", err)
	}
	f, err := os.CreateTemp(dir, ".credentials-*") // 0600 from the beginning
	if err != nil {
		return fmt.Errorf("keep the login: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Chmod(credentialsMode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), c.path)
	}
	if err != nil {
		return fmt.Errorf("keep the login: %w", err)
	}
	return nil
}

// serverName is what a server's login is kept by; empty: it has none, as on a local socket,
// where the account counts.
func (ca *call) serverName() string {
	if strings.HasPrefix(ca.server, "unix://") {
		return ""
	}
	c, err := client.New(client.Config{Server: ca.server})
	if err != nil {
		return "" // who asks it is told
	}
	defer c.Close()
	return strings.TrimSuffix(c.Server(), "/")
}

// keptLogin returns the token of the login at the server; empty: there is none that is good.
func (ca *call) keptLogin() (string, error) {
	name := ca.serverName()
	if name == "" {
		return "", nil
	}
	kept, err := readCredentials(ca.credentialsPath())
	if err != nil {
		return "", err
	}
	l, ok := kept.Logins[name]
	if !ok {
		return "", nil
	}
	if _, err := apitoken.ParseSession(l.Token); err != nil {
		return "", usagef("%s: the login at %s is not whole; log in again with `carillon login`", kept.path, name)
	}
	if !ca.now().Before(l.ExpiresAt) {
		ca.note("your login at %s ended at %s; log in again with `carillon login`", name, ca.stamp(l.ExpiresAt))
		return "", nil
	}
	ca.loggedIn = true
	return l.Token, nil
}
