package sharesock

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// keyBytes is the size of the key of tokens.
const keyBytes = 32

// openKey reads the key of tokens, and makes one if there is none.
func openKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if err == nil && len(key) == keyBytes {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("key of tokens: %w", err)
	}
	key = make([]byte, keyBytes)
	_, _ = rand.Read(key) // it never fails
	next := path + ".new"
	if err := os.WriteFile(next, key, 0o600); err != nil {
		return nil, fmt.Errorf("key of tokens: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return nil, fmt.Errorf("key of tokens: %w", err)
	}
	return key, nil
}

// Token is what a task of an account shows (T2).
func (s *Server) Token(task string, uid uint32) string {
	body := task + "~" + strconv.FormatUint(uint64(uid), 10)
	return body + "~" + s.code(body)
}

func (s *Server) code(body string) string {
	mac := hmac.New(sha256.New, s.key)
	_, _ = mac.Write([]byte(body)) // a hash never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// errToken says no more: who has no token learns nothing by trying.
var errToken = errors.New("the token is not that of a task of this account on this minion")

// task returns the task whose token an account shows (T1).
func (s *Server) task(token string, uid uint32) (string, error) {
	i := strings.LastIndexByte(token, '~')
	if i < 0 || !hmac.Equal([]byte(s.code(token[:i])), []byte(token[i+1:])) {
		return "", errToken
	}
	task, of, _ := strings.Cut(token[:i], "~")
	n, err := strconv.ParseUint(of, 10, 32)
	if err != nil || uid != 0 && uint32(n) != uid {
		return "", errToken
	}
	return task, nil
}
