/* A DTLS 1.2 peer over tinydtls, the stack of Wakaama and Contiki: it wants one handshake message a record.
 *   tinydtls server PORT psk IDENTITY KEY_HEX | rpk PRIVATE_HEX X_HEX Y_HEX      echoes what it receives
 *   tinydtls client PORT …                    tells "connected"; a line on stdin is sent, and "answer LINE" told
 * Both tell alerts as "alert LEVEL CODE". */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tinydtls.h"
#include "dtls.h"
#include "dtls_debug.h"

static int descriptor, is_server;
static const char *identity;
static unsigned char secret[32], point_x[32], point_y[32];
static size_t secret_length;

static size_t from_hex(const char *text, unsigned char *out, size_t most) {
  size_t length = strlen(text) / 2;
  for (size_t i = 0; i < length && i < most; i++) sscanf(text + 2 * i, "%2hhx", out + i);
  return length < most ? length : most;
}

static int send_to_peer(dtls_context_t *ctx, session_t *peer, uint8 *bytes, size_t length) {
  (void)ctx;
  return sendto(descriptor, bytes, length, 0, &peer->addr.sa, peer->size);
}

static int received(dtls_context_t *ctx, session_t *peer, uint8 *bytes, size_t length) {
  if (is_server) return dtls_write(ctx, peer, bytes, length);
  printf("answer %.*s\n", (int)length, bytes);
  fflush(stdout);
  return 0;
}

static int happened(dtls_context_t *ctx, session_t *peer, dtls_alert_level_t level, unsigned short code) {
  (void)ctx, (void)peer;
  if (level == 0 && code == DTLS_EVENT_CONNECTED) printf("connected\n");
  else if (level > 0) printf("alert %d %d\n", level, code);
  fflush(stdout);
  return 0;
}

static int psk(dtls_context_t *ctx, const session_t *peer, dtls_credentials_type_t type, const unsigned char *desc,
               size_t desc_length, unsigned char *result, size_t room) {
  (void)ctx, (void)peer;
  if (type == DTLS_PSK_HINT) return 0;
  if (type == DTLS_PSK_IDENTITY) {
    if (strlen(identity) > room) return dtls_alert_fatal_create(DTLS_ALERT_INTERNAL_ERROR);
    memcpy(result, identity, strlen(identity));
    return strlen(identity);
  }
  int known = !is_server || (desc_length == strlen(identity) && memcmp(desc, identity, desc_length) == 0);
  if (!known || secret_length > room) return dtls_alert_fatal_create(DTLS_ALERT_DECRYPT_ERROR);
  memcpy(result, secret, secret_length);
  return secret_length;
}

static int own_key(dtls_context_t *ctx, const session_t *peer, const dtls_ecdsa_key_t **result) {
  static dtls_ecdsa_key_t key = {DTLS_ECDH_CURVE_SECP256R1, secret, point_x, point_y};
  (void)ctx, (void)peer;
  *result = &key;
  return 0;
}

static int any_key(dtls_context_t *ctx, const session_t *peer, const unsigned char *x, const unsigned char *y, size_t size) {
  (void)ctx, (void)peer, (void)x, (void)y, (void)size;
  return 0;
}

int main(int count, char **words) {
  if (count < 6) return 2;
  is_server = strcmp(words[1], "server") == 0;
  static dtls_handler_t handler = {.write = send_to_peer, .read = received, .event = happened};
  if (strcmp(words[3], "psk") == 0) {
    identity = words[4];
    secret_length = from_hex(words[5], secret, sizeof secret);
    handler.get_psk_info = psk;
  } else {
    if (count < 7) return 2;
    from_hex(words[4], secret, sizeof secret);
    from_hex(words[5], point_x, sizeof point_x);
    from_hex(words[6], point_y, sizeof point_y);
    handler.get_ecdsa_key = own_key;
    handler.verify_ecdsa_key = any_key;
  }
  dtls_init();
  dtls_set_log_level(DTLS_LOG_WARN);
  dtls_context_t *ctx = dtls_new_context(NULL);
  dtls_set_handler(ctx, &handler);

  descriptor = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  session_t server;
  dtls_session_init(&server);
  if (is_server) at.sin_port = htons(atoi(words[2]));
  if (bind(descriptor, (struct sockaddr *)&at, sizeof at) != 0) return perror("bind"), 1;
  if (is_server) {
    printf("listening\n");
    fflush(stdout);
  } else {
    at.sin_port = htons(atoi(words[2]));
    server.addr.sin = at;
    server.size = sizeof at;
    dtls_connect(ctx, &server);
  }
  for (;;) {
    struct pollfd waits[] = {{.fd = descriptor, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    poll(waits, is_server ? 1 : 2, 100);
    dtls_check_retransmit(ctx, NULL);
    if (waits[0].revents & POLLIN) {
      uint8 bytes[2048];
      session_t peer;
      dtls_session_init(&peer);
      peer.size = sizeof peer.addr;
      int length = recvfrom(descriptor, bytes, sizeof bytes, 0, &peer.addr.sa, &peer.size);
      if (length > 0) dtls_handle_message(ctx, &peer, bytes, length);
    }
    if (!is_server && waits[1].revents & (POLLIN | POLLHUP)) {
      char line[1024];
      if (fgets(line, sizeof line, stdin) == NULL) break;
      line[strcspn(line, "\n")] = 0;
      dtls_write(ctx, &server, (uint8 *)line, strlen(line));
    }
  }
  dtls_free_context(ctx);
  return 0;
}
