// Weights on the device: a codec's own blocks, each padded so that its codes begin at a multiple of
// four bytes (host: gpu/packed.h). A codec is a constant where a kernel is compiled for one and an
// argument where it serves all. Element i of a block is isa.md section 3's line for the codec.
#define F32 7
#define F16 8
#define BF16 9
#define Q4_0 14
#define Q4_1 15
#define Q5_0 16
#define Q5_1 17
#define Q8_0 18
#define Q2_K 19
#define Q3_K 20
#define Q4_K 21
#define Q5_K 22
#define Q6_K 23
#define IQ4_NL 24
#define IQ4_XS 25
#define MXFP4 26
#define NVFP4 27
#define INT4_G32 28
#define INT4_G128 29
#define FP8_B128 30

TABLE signed char kNonLinear[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                             1,    13,   25,  38,  53,  69,  89,  113};

DEVICE int block_elements(int codec) {
  if (codec <= BF16) return 32;  // a run: rows are padded to whole ones
  if (codec <= Q8_0 || codec == IQ4_NL || codec == MXFP4 || codec == INT4_G32) return 32;
  if (codec == NVFP4) return 64;
  return codec == INT4_G128 || codec == FP8_B128 ? 128 : 256;
}

DEVICE int block_bytes(int codec) {
  switch (codec) {
    case F32: return 128;
    case F16:
    case BF16: return 64;
    case Q5_0:
    case Q5_1: return 24;
    case Q8_0:
    case NVFP4: return 36;
    case Q2_K: return 84;
    case Q3_K: return 112;
    case Q4_K: return 144;
    case Q5_K: return 176;
    case Q6_K: return 212;
    case IQ4_XS: return 136;
    case INT4_G128: return 68;
    case FP8_B128: return 132;
    default: return 20;
  }
}

// Twice the number that four bits of e2m1 stand for.
DEVICE int twice_e2m1(int c) {
  int m = c & 7;
  int v = m < 4 ? m : m == 4 ? 4 : m == 5 ? 6 : m == 6 ? 8 : 12;
  return c & 8 ? -v : v;
}

DEVICE int low_then_high(GLOBAL const uchar* codes, int i) {
  return i < 16 ? codes[i] & 15 : codes[i - 16] >> 4;
}

// Scale and minimum of sub-block j of q4_k and q5_k.
DEVICE int scale_k4(GLOBAL const uchar* t, int j) {
  return j < 4 ? t[j] & 63 : (t[j + 4] & 15) + 16 * (t[j - 4] >> 6);
}
DEVICE int min_k4(GLOBAL const uchar* t, int j) {
  return j < 4 ? t[j + 4] & 63 : (t[j + 4] >> 4) + 16 * (t[j] >> 6);
}

DEVICE float q3_k_at(GLOBAL const uchar* b, int i) {
  int n = i / 16, h = i / 128, g = i % 128 / 32;
  GLOBAL const uchar* t = b + 96;
  int s = ((n < 8 ? t[n] & 15 : t[n - 8] >> 4) + 16 * (t[8 + n % 4] >> (2 * (n / 4)) & 3)) - 32;
  int c = b[32 + 32 * h + i % 32] >> (2 * g) & 3;
  int high = b[i % 32] >> (4 * h + g) & 1;
  return half_at(b + 108) * (float)s * (float)(c - 4 * (1 - high));
}

DEVICE float q6_k_at(GLOBAL const uchar* b, int i) {
  int h = i / 128, g = i % 128 / 32;
  int low = b[64 * h + 32 * (g % 2) + i % 32] >> (4 * (g / 2)) & 15;
  int high = b[128 + 32 * h + i % 32] >> (2 * g) & 3;
  float scale = half_at(b + 208) * (float)(signed char)b[192 + i / 16];
  return scale * (float)(low + 16 * high - 32);
}

DEVICE float mxfp4_at(GLOBAL const uchar* b, int i) {
  uint e = b[0];
  float scale = e == 255u ? FLOAT(0x7FC00000u) : e < 2u ? FLOAT(0x00200000u << e) : FLOAT((e - 1u) << 23);
  return scale * (float)twice_e2m1(low_then_high(b + 4, i));
}

DEVICE float nvfp4_at(GLOBAL const uchar* b, int i) {
  int j = i / 16, n = i % 16;
  uint s = b[j] & 0x7Fu;
  float scale = s == 0x7Fu ? 0.0f : from_e4m3(s) * 0.5f;
  int c = n < 8 ? b[4 + 8 * j + n] & 15 : b[4 + 8 * j + n - 8] >> 4;
  return scale * (float)twice_e2m1(c);
}

DEVICE float iq4_xs_at(GLOBAL const uchar* b, int i) {
  int j = i / 32;
  uint high = (uint)b[2] | (uint)b[3] << 8;
  int s = (b[4 + j / 2] >> (4 * (j % 2)) & 15) + 16 * (int)(high >> (2 * j) & 3u);
  return half_at(b) * (float)(s - 32) * (float)kNonLinear[low_then_high(b + 8 + 16 * j, i % 32)];
}

DEVICE float element_of(int codec, GLOBAL const uchar* b, int i) {
  switch (codec) {
    case F32: return ((GLOBAL const float*)b)[i];
    case F16: return half_at(b + 2 * i);
    case BF16: return FLOAT((uint)((GLOBAL const ushort*)b)[i] << 16);
    case Q8_0: return half_at(b) * (float)(signed char)b[4 + i];
    case Q4_0: return half_at(b) * (float)(low_then_high(b + 4, i) - 8);
    case Q4_1: return half_at(b) * (float)low_then_high(b + 4, i) + half_at(b + 2);
    case Q5_0: {
      int h = b[4 + i / 8] >> (i % 8) & 1;
      return half_at(b) * (float)(low_then_high(b + 8, i) + 16 * h - 16);
    }
    case Q5_1: {
      int h = b[4 + i / 8] >> (i % 8) & 1;
      return half_at(b) * (float)(low_then_high(b + 8, i) + 16 * h) + half_at(b + 2);
    }
    case Q2_K: {
      int s = b[i / 16];
      int c = b[16 + 32 * (i / 128) + i % 32] >> (2 * (i % 128 / 32)) & 3;
      return half_at(b + 80) * (float)(s & 15) * (float)c - half_at(b + 82) * (float)(s >> 4);
    }
    case Q3_K: return q3_k_at(b, i);
    case Q4_K: {
      int j = i / 32;
      int c = b[16 + 32 * (j / 2) + i % 32] >> (4 * (j % 2)) & 15;
      return half_at(b) * (float)scale_k4(b + 4, j) * (float)c -
             half_at(b + 2) * (float)min_k4(b + 4, j);
    }
    case Q5_K: {
      int j = i / 32;
      int c = b[48 + 32 * (j / 2) + i % 32] >> (4 * (j % 2)) & 15;
      c += 16 * (b[16 + i % 32] >> j & 1);
      return half_at(b) * (float)scale_k4(b + 4, j) * (float)c -
             half_at(b + 2) * (float)min_k4(b + 4, j);
    }
    case Q6_K: return q6_k_at(b, i);
    case IQ4_NL: return half_at(b) * (float)kNonLinear[low_then_high(b + 4, i)];
    case IQ4_XS: return iq4_xs_at(b, i);
    case MXFP4: return mxfp4_at(b, i);
    case NVFP4: return nvfp4_at(b, i);
    case INT4_G32:
    case INT4_G128: {
      int c = b[4 + i / 2] >> (4 * (i % 2)) & 15;
      return (float)(c - b[2]) * half_at(b);
    }
    case FP8_B128: return ((GLOBAL const float*)b)[0] * from_e4m3(b[4 + i]);
  }
  return 0.0f;
}

DEVICE float weight_at(int codec, GLOBAL const uchar* row, int column) {
  int elements = block_elements(codec);
  return element_of(codec, row + (ulong)(column / elements) * block_bytes(codec), column % elements);
}
