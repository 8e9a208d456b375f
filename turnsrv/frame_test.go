package turnsrv

import (
	"errors"
	"testing"
)

func TestFrameSize(t *testing.T) {
	for _, tt := range []struct {
		name string
		head []byte
		size int
		err  error
	}{
		{"header alone", []byte{0, 1, 0, 0}, 20, nil},
		{"with attributes", []byte{0, 3, 0, 8}, 28, nil},
		{"not a multiple of 4", []byte{0, 1, 0, 7}, 0, errFrameLength},
		{"wraps around in 16 bits", []byte{0, 1, 0xFF, 0xEC}, 0, errFrameSize},
		{"empty ChannelData", []byte{0x40, 0, 0, 0}, 4, nil},
		{"ChannelData of 1", []byte{0x40, 0, 0, 1}, 8, nil},
		{"ChannelData of 4", []byte{0x4F, 0xFF, 0, 4}, 8, nil},
		{"ChannelData of 5", []byte{0x40, 0, 0, 5}, 12, nil},
		{"longest", []byte{0x40, 0, 0x06, 0x38}, 1596, nil},
		{"one too long", []byte{0x40, 0, 0x06, 0x39}, 0, errFrameSize},
		{"ChannelData wraps around in 16 bits", []byte{0x40, 0, 0xFF, 0xFC}, 0, errFrameSize},
		{"channel of RFC 5766", []byte{0x7F, 0xFF, 0, 4}, 8, nil},
		{"reserved channel", []byte{0x80, 0, 0, 4}, 0, errFrameKind},
		{"HTTP", []byte("GET "), 0, errFrameSize},
		{"TLS, for the cookie to refuse", []byte{0x16, 3, 1, 0}, 276, nil},
		{"noise", []byte{0xFF, 0xFF, 0xFF, 0xFF}, 0, errFrameKind},
	} {
		size, err := frameSize(tt.head)
		if size != tt.size || !errors.Is(err, tt.err) {
			t.Errorf("%s: got %d, %v, want %d, %v", tt.name, size, err, tt.size, tt.err)
		}
	}
}

func FuzzFrameSize(f *testing.F) {
	f.Add([]byte{0, 1, 0xFF, 0xEC})
	f.Add([]byte{0x40, 0, 0xFF, 0xFC})
	f.Fuzz(func(t *testing.T, head []byte) {
		if len(head) < 4 {
			return
		}
		size, err := frameSize(head)
		if err == nil && (size < channelDataHeader || size > maxFrame || size%4 != 0) {
			t.Errorf("%x: got %d", head, size)
		}
	})
}
