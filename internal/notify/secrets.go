package notify

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// secrets are the files of the node that receivers' secrets are in.
type secrets struct{ dir string }

const maxSecret = 8 << 10

// secret is what a file holds.
type secret struct {
	name, value string
	// hosts are the only ones to which it is sent: names, *.NAME for all below one, and
	// addresses. None: it is sent wherever a notifier says.
	hosts []string
}

// of returns a secret of a namespace that is about to be sent to an address, a URL or
// host:port. The error names the file, never what is in it.
func (s secrets) of(namespace, name, to string) (string, error) {
	v, err := s.read(namespace, name)
	if err != nil {
		return "", err
	}
	return v.value, v.sentTo(to)
}

// address returns a secret that is the address to which a message is sent.
func (s secrets) address(namespace, name string) (string, error) {
	v, err := s.read(namespace, name)
	if err != nil {
		return "", err
	}
	return v.value, v.sentTo(v.value)
}

// hostsField begins the first line of a file that says where its secret may be sent.
const hostsField = "hosts:"

// newSecret reads what a file holds.
func newSecret(name, text string) (*secret, error) {
	v := &secret{name: name, value: strings.TrimRight(text, "\r\n")}
	line, rest, _ := strings.Cut(v.value, "\n")
	if list, bound := strings.CutPrefix(line, hostsField); bound {
		v.hosts = strings.FieldsFunc(strings.ToLower(list), func(c rune) bool { return c == ',' || c == ' ' || c == '\t' || c == '\r' })
		v.value = rest
		if len(v.hosts) == 0 {
			return nil, fmt.Errorf("secret %s: the line %s names no host to which it may be sent; name some, with spaces between them", name, hostsField)
		}
	}
	if v.value == "" {
		return nil, fmt.Errorf("secret %s: its file is empty", name)
	}
	return v, nil
}

// sentTo returns an error if the secret is not for the host of an address.
func (v *secret) sentTo(address string) error {
	host := hostOf(address)
	if v.hosts == nil || slices.ContainsFunc(v.hosts, func(h string) bool { return isHost(h, host) }) {
		return nil
	}
	// Not which ones it is for: who may not have the secret need not know whose it is.
	return fmt.Errorf("secret %s is not sent to %q: the line %s of its file does not name that host", v.name, host, hostsField)
}

// hostOf returns the host of a URL, or of host:port, as it is compared; empty: there is none.
func hostOf(address string) string {
	host := address
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		host = u.Hostname()
	} else if name, _, err := net.SplitHostPort(address); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// isHost reports whether a host is one that a line names.
func isHost(named, host string) bool {
	if below, all := strings.CutPrefix(named, "*."); all {
		return strings.HasSuffix(host, "."+below)
	}
	return host != "" && strings.TrimSuffix(strings.Trim(named, "[]"), ".") == host
}

// read returns what a file holds.
func (s secrets) read(namespace, name string) (*secret, error) {
	if s.dir == "" {
		return nil, errors.New("the node has no directory for secrets of notifiers; its setting notify.secretsDir names one")
	}
	if job.CheckName(namespace) != nil || job.CheckName(name) != nil {
		return nil, fmt.Errorf("%q is no name of a file", name)
	}
	// A root keeps links from leading out of the namespace's folder.
	root, err := os.OpenRoot(filepath.Join(s.dir, namespace))
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", name, withoutPath(err))
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", name, withoutPath(err))
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", name, withoutPath(err))
	}
	if mode := st.Mode().Perm(); mode&0o007 != 0 {
		return nil, fmt.Errorf("secret %s: every account of the node may use its file (mode %04o); make it 0600", name, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", name, withoutPath(err))
	}
	if len(text) > maxSecret {
		return nil, fmt.Errorf("secret %s: its file has more than %d bytes", name, maxSecret)
	}
	return newSecret(name, string(text))
}

// Unreadable tells which of the secrets that a notifier names this node cannot read, or
// does not send to where the notifier wants them, and why.
func (s *Sender) Unreadable(n *job.Notifier) []string {
	var out []string
	tell := func(err error) {
		if err != nil {
			out = append(out, err.Error())
		}
	}
	to, urlFile, others := destination(&n.Spec)
	if urlFile != "" {
		var err error
		to, err = s.secrets.address(n.Namespace, urlFile)
		tell(err)
	}
	for _, name := range others {
		if name == "" {
			continue
		}
		v, err := s.secrets.read(n.Namespace, name)
		if err == nil && to != "" {
			err = v.sentTo(to)
		}
		tell(err)
	}
	return out
}

// destination returns where a notifier sends, or the name of the secret that says so, and
// the names of the secrets that go there.
func destination(s *job.NotifierSpec) (to, urlFile string, others []string) {
	switch {
	case s.Webhook != nil:
		return s.Webhook.URL, s.Webhook.URLFile, []string{s.Webhook.SecretFile}
	case s.Email != nil:
		return s.Email.Server, "", []string{s.Email.PasswordFile}
	case s.Slack != nil:
		return s.Slack.URL, s.Slack.URLFile, nil
	case s.Ntfy != nil:
		return s.Ntfy.URL, s.Ntfy.URLFile, []string{s.Ntfy.TokenFile}
	case s.PagerDuty != nil:
		return cmp.Or(s.PagerDuty.URL, pagerDutyURL), "", []string{s.PagerDuty.RoutingKeyFile}
	case s.Alertmanager != nil:
		return s.Alertmanager.URL, "", []string{s.Alertmanager.TokenFile}
	case s.Healthchecks != nil:
		return s.Healthchecks.URL, s.Healthchecks.URLFile, nil
	}
	return "", "", nil
}

func withoutPath(err error) error {
	var at *os.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
