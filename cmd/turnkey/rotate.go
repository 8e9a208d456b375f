package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"syscall"
	"time"

	"turnkey/configs"
	"turnkey/turnsrv/cred"
	"turnkey/web"
)

// rotateEvery is how often secret files are looked at.
const rotateEvery = 5 * time.Second

// secretFileSeen is a secret file that is followed while the server runs.
type secretFileSeen struct {
	setting, path string
	load          func(path string) (changed bool, err error) // what it says counts from now on
	size          int64
	modified      time.Time
}

// look reads the file if it looks different from the last time, or if told to.
// A file that cannot be used changes nothing, and is told of once.
func (f *secretFileSeen) look(again bool, log *slog.Logger) {
	var size int64
	var modified time.Time
	if info, err := os.Stat(f.path); err == nil {
		size, modified = info.Size(), info.ModTime()
	}
	if size == f.size && modified.Equal(f.modified) && !again {
		return
	}
	f.size, f.modified = size, modified
	changed, err := f.load(f.path)
	switch {
	case err != nil:
		log.Error("secret file cannot be used, what was read before stays in force: correct "+f.setting, "file", f.path, "error", err)
	case changed:
		log.Info("secret file read again, it is in force", "setting", f.setting, "file", f.path)
	}
}

// followSecrets reads files again when they change and on SIGHUP, until ctx is done.
func followSecrets(ctx context.Context, files []*secretFileSeen, log *slog.Logger) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	ticker := time.NewTicker(rotateEvery)
	defer ticker.Stop()
	for again := false; ; {
		for _, f := range files {
			f.look(again, log)
		}
		select {
		case <-ticker.C:
			again = false
		case <-hup:
			again = true
		case <-ctx.Done():
			return
		}
	}
}

// secretFiles lists the files that hold secrets of this server.
func (s *server) secretFiles() (files []*secretFileSeen) {
	if path := s.cfg.SecretFile; path != "" {
		now := s.secret.values
		files = append(files, &secretFileSeen{setting: "TURNKEY_SECRET_FILE", path: path, load: func(path string) (bool, error) {
			values, err := configs.ReadSecrets(path)
			if err != nil || slices.Equal(values, now) {
				return false, err
			}
			secrets, err := cred.NewSecrets(values...)
			if err != nil {
				return false, err
			}
			now = values
			s.turn.SetSecrets(secrets) // checked before it is issued
			s.secrets.Store(secrets)
			return true, nil
		}})
	}
	if path := s.cfg.APIKeyFile; path != "" {
		now := s.apiKey.values[0]
		files = append(files, &secretFileSeen{setting: "TURNKEY_API_KEY_FILE", path: path, load: func(path string) (bool, error) {
			key, err := configs.ReadAPIKey(path)
			if err != nil || key == now {
				return false, err
			}
			now = key
			s.access.SetKey(key)
			return true, nil
		}})
	}
	if path := s.cfg.WebhookSecretFile; path != "" {
		now := s.cfg.WebhookSecret
		files = append(files, &secretFileSeen{setting: "TURNKEY_WEBHOOK_SECRET_FILE", path: path, load: func(path string) (bool, error) {
			secret, err := configs.ReadWebhookSecret(path)
			if err != nil || secret == now {
				return false, err
			}
			now = secret
			s.webhook.SetSecret([]byte(secret))
			return true, nil
		}})
	}
	if path := s.cfg.JWTKeys; path != "" {
		files = append(files, &secretFileSeen{setting: "TURNKEY_JWT_KEYS", path: path, load: func(path string) (bool, error) {
			keys, err := web.ReadKeys(path)
			if err != nil || reflect.DeepEqual(keys, s.keys) {
				return false, err
			}
			s.keys = keys
			s.access.SetKeys(keys)
			return true, nil
		}})
	}
	return files
}

// readKeys reads the keys of others that sign tokens for the first time.
func (s *server) readKeys() (err error) {
	if s.cfg.JWTKeys == "" {
		return nil
	}
	if s.keys, err = web.ReadKeys(s.cfg.JWTKeys); err != nil {
		return fmt.Errorf("read TURNKEY_JWT_KEYS=%s: %w", s.cfg.JWTKeys, err)
	}
	s.access.SetKeys(s.keys)
	return nil
}

// checkConfig looks at what the files hold, too, that the configuration names.
func checkConfig(cfg configs.Config, stderr io.Writer) error {
	_, err := openCertificate(cfg, nil)
	s := &server{cfg: cfg, access: &web.Access{}}
	if err = errors.Join(err, s.readKeys()); err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintln(stderr, "warning:", w)
	}
	_, err = fmt.Fprintln(stderr, "the configuration is valid")
	return err
}
