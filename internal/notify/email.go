package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/internal/egress"
	"github.com/carillon-cron/carillon/internal/notify/message"
	"github.com/carillon-cron/carillon/job"
)

// The ports of mail servers: mail is handed in by STARTTLS, or by TLS from the beginning.
const (
	portStart = "587"
	portTLS   = "465"
)

// email sends a message by SMTP. The whole takes no longer than a call of egress may.
func (s *Sender) email(ctx context.Context, n *job.Notifier, r *job.EmailReceiver, m *message.Message) error {
	ctx, cancel := context.WithTimeout(ctx, 2*egress.DefaultTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(r.Server)
	if err != nil {
		host, port = r.Server, portStart
		if r.TLS == job.TLSDirect {
			port = portTLS
		}
	}
	how := r.TLS
	if how == "" {
		how = job.TLSStart
		if port == portTLS {
			how = job.TLSDirect
		}
	}
	body, from, to, err := s.mail(n, r, m)
	if err != nil {
		return &failure{err: err, forGood: true}
	}
	conn, err := s.egress.Dial(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return err
	}
	defer conn.Close()
	if at, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(at); err != nil {
			return err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := s.deliver(conn, host, how, n, r, from, to, body); err != nil {
		return judgeSMTP(err)
	}
	return nil
}

func (s *Sender) deliver(conn net.Conn, host, how string, n *job.Notifier, r *job.EmailReceiver, from string, to []string, body []byte) error {
	if how == job.TLSDirect {
		conn = tls.Client(conn, s.egress.TLS(host))
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return err
	}
	if err := c.Hello(helloName(s.node)); err != nil {
		return err
	}
	if how == job.TLSStart {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return errors.New("the mail server offers no STARTTLS; give tls: tls, or tls: none if nobody can read along")
		}
		if err := c.StartTLS(s.egress.TLS(host)); err != nil {
			return err
		}
	}
	if r.User != "" {
		password, err := s.secrets.of(n.Namespace, r.PasswordFile, host)
		if err != nil {
			return err
		}
		if err := c.Auth(smtp.PlainAuth("", r.User, password, host)); err != nil {
			return fmt.Errorf("log in as %s: %w", r.User, err)
		}
	}
	if err := c.Mail(from); err != nil {
		return err
	}
	for _, one := range to {
		if err := c.Rcpt(one); err != nil {
			return fmt.Errorf("%s: %w", one, err)
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // it has taken the mail
	return nil
}

// judgeSMTP tells refusals for good from those for now.
func judgeSMTP(err error) error {
	var said *textproto.Error
	if errors.As(err, &said) && said.Code >= 550 && said.Code <= 554 {
		return &failure{err: err, forGood: true}
	}
	return err
}

func helloName(node job.NodeID) string {
	if node == "" {
		return "localhost"
	}
	return string(node)
}

// mail writes the mail. Its id is the message's, so that a second copy is known as one.
func (s *Sender) mail(n *job.Notifier, r *job.EmailReceiver, m *message.Message) (body []byte, from string, to []string, err error) {
	sender, err := mail.ParseAddress(r.From)
	if err != nil {
		return nil, "", nil, fmt.Errorf("from: %w", err)
	}
	var shown []string
	for _, text := range r.To {
		a, err := mail.ParseAddress(text)
		if err != nil {
			return nil, "", nil, fmt.Errorf("to: %w", err)
		}
		to, shown = append(to, a.Address), append(shown, a.String())
	}
	_, domain, _ := strings.Cut(sender.Address, "@")
	var b bytes.Buffer
	head := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	head("From", sender.String())
	head("To", strings.Join(shown, ",\r\n "))
	head("Subject", mime.QEncoding.Encode("utf-8", m.Subject))
	head("Date", s.now().Format(time.RFC1123Z))
	head("Message-ID", "<"+m.ID+"@"+domain+">")
	if t := troubleOf(&m.Alerts[0]); t != m.ID { // one thread from the failure to the recovery
		head("In-Reply-To", "<"+t+"@"+domain+">")
		head("References", "<"+t+"@"+domain+">")
	}
	head("Auto-Submitted", "auto-generated")
	head("X-Carillon-Notifier", n.Key().String())
	head("MIME-Version", "1.0")
	head("Content-Type", "text/plain; charset=utf-8")
	head("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	if _, err := w.Write([]byte(strings.ReplaceAll(m.Text, "\n", "\r\n") + "\r\n")); err != nil {
		return nil, "", nil, err
	}
	return b.Bytes(), sender.Address, to, w.Close()
}
