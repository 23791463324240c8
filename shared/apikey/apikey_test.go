package apikey

import (
	"regexp"
	"testing"
)

func TestMint(t *testing.T) {
	for name, test := range map[string]struct {
		live bool
		form string
	}{
		"a live key says so": {true, `^dk_live_[a-z2-7]{32}$`},
		"a test key says so": {false, `^dk_test_[a-z2-7]{32}$`},
	} {
		t.Run(name, func(t *testing.T) {
			form := regexp.MustCompile(test.form)
			seen := map[string]bool{}
			letters := map[rune]int{}
			for range 1000 {
				key := Mint(test.live)
				if !form.MatchString(key) || len(key) > MaxLength {
					t.Fatalf("got %q", key)
				}
				if seen[key] {
					t.Fatalf("%q came twice", key)
				}
				seen[key] = true
				for _, r := range key[len("dk_live_"):] {
					letters[r]++
				}
			}
			// 32 letters of 5 bits each are 160 bits, if all letters occur alike.
			if len(letters) != 32 {
				t.Errorf("keys are made of %d letters, want 32", len(letters))
			}
		})
	}
}

func TestHash(t *testing.T) {
	for key, want := range map[string]string{
		// FIPS 180-4 examples: "abc" and the empty message.
		"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"":    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	} {
		if got := Hash(key); got != want {
			t.Errorf("the hash of %q is %s, want %s", key, got, want)
		}
	}
}
