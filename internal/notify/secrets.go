package notify

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// secrets are the files of the node that receivers' secrets are in.
type secrets struct{ dir string }

const maxSecret = 8 << 10

// of returns a secret of a namespace. The error names the file, never what is in it.
func (s secrets) of(namespace, name string) (string, error) {
	if s.dir == "" {
		return "", errors.New("the node has no directory for secrets of notifiers; its setting notify.secretsDir names one")
	}
	if job.CheckName(namespace) != nil || job.CheckName(name) != nil {
		return "", fmt.Errorf("%q is no name of a file", name)
	}
	// A root keeps links from leading out of the namespace's folder.
	root, err := os.OpenRoot(filepath.Join(s.dir, namespace))
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", name, withoutPath(err))
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", name, withoutPath(err))
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", name, withoutPath(err))
	}
	if mode := st.Mode().Perm(); mode&0o007 != 0 {
		return "", fmt.Errorf("secret %s: every account of the node may use its file (mode %04o); make it 0600", name, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", name, withoutPath(err))
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" || len(text) > maxSecret {
		return "", fmt.Errorf("secret %s: its file is empty, or has more than %d bytes", name, maxSecret)
	}
	return value, nil
}

// Unreadable tells which of the secrets that a notifier names this node cannot read, and why.
func (s *Sender) Unreadable(n *job.Notifier) []string {
	var out []string
	for _, name := range secretFiles(&n.Spec) {
		if _, err := s.secrets.of(n.Namespace, name); err != nil {
			out = append(out, err.Error())
		}
	}
	return out
}

// secretFiles are the names of the secrets that stand in a notifier.
func secretFiles(s *job.NotifierSpec) []string {
	var all []string
	if r := s.Webhook; r != nil {
		all = append(all, r.URLFile, r.SecretFile)
	}
	if r := s.Email; r != nil {
		all = append(all, r.PasswordFile)
	}
	if r := s.Slack; r != nil {
		all = append(all, r.URLFile)
	}
	if r := s.Ntfy; r != nil {
		all = append(all, r.URLFile, r.TokenFile)
	}
	if r := s.PagerDuty; r != nil {
		all = append(all, r.RoutingKeyFile)
	}
	if r := s.Alertmanager; r != nil {
		all = append(all, r.TokenFile)
	}
	if r := s.Healthchecks; r != nil {
		all = append(all, r.URLFile)
	}
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
}

func withoutPath(err error) error {
	var at *os.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
