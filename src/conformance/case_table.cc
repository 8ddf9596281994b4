// op | class | shapes | grid | inputs name:width | declarations | body, giving %y | columns of %y
//
// {name} stands for a value of the grid; x and y are the types of inputs and result, f32 if left
// out. Weights are filled by name: $w* matrices, $b* biases, $g* gains near 1, $invf rope
// frequencies, $s* sinks, $eye identities. `span` bounds the exponents of the wide generators.
// Shapes are sets of steps.cc. A value named %also becomes main's second result, because no value
// may go unused; the input named router decides a token's experts, that named next the token after
// it, often one of the same step; `tree` makes a sequence's new tokens a tree. A new case is a new
// line; a changed line is a new suite version. A line that begins with a space goes on with the one
// above.
#include "conformance/cases.h"

namespace tg::conformance {

namespace {

constexpr std::string_view kTable = R"(
embed | E0 | rows | codec=@weights K=256 | | .w $w {codec}[384,{K}] | %y = embed $w, %ids ->
    f32[T,{K}] | {K}
embed | E0 | rows | codec=f32,bf16,q8_0 y=f16,bf16 K=96 | | .w $w {codec}[384,{K}] | %y = embed
    $w, %ids -> {y}[T,{K}] | {K}
embed | E0 | rows | codec=f32 K=7,129 | | .w $w {codec}[384,{K}] | %y = embed $w, %ids ->
    f32[T,{K}] | {K}
gather | E0 | rows | x=f32,f16,bf16 y={x} K=48 | x:{K} | | %y = gather %x, %rows -> {x}[R,{K}] |
    {K}
gather | E0 | rows | K=96 | x:{K} | | %h = view %x -> f32[T,6,16] ; %g = gather %h, %rows ->
    f32[R,6,16] ; %y = view %g -> f32[R,96] | {K}
view | E0 | rows | x=f32,f16,bf16 y={x} K=96 N=48 | x:{K} | | %y = view %x {offset=16} ->
    {x}[T,{N}] | {N}
view | E0 | rows | x=f32,bf16 y={x} K=96 | x:{K} | | %h = view %x -> {x}[T,6,16] ; %s = view %h
    {offset=4} -> {x}[T,6,8] ; %y = view %s -> {x}[T,48] | 48
concat | E0 | rows | x=f32,f16,bf16 y={x} | x:96 u:33 | | %y = concat %x, %u, %x -> {x}[T,225] |
    225
concat | E0 | rows | x=f32,bf16 y={x} K=40 | x:{K} u:{K} | | %c = concat %u, %x {axis=0} ->
    {x}[2*T,{K}] ; %y = gather %c, %rows -> {x}[R,{K}] | {K}
permute | E0 | rows | x=f32,f16,bf16 y={x} | x:96 | | %h = view %x -> {x}[T,4,24] ; %p = permute %h
    {axes=(0,2,1)} -> {x}[T,24,4] ; %y = view %p -> {x}[T,96] | 96
permute | E0 | rows | axes=4 | x:96 | | %h = view %x -> f32[T,2,3,16] ; %p = permute %h
    {axes=(0,3,1,2)} -> f32[T,16,2,3] ; %y = view %p -> f32[T,96] | 96
permute | E0 | rows | axes=2 | x:96 | | %p = permute %x {axes=(1,0)} -> f32[96,T] ; %y = permute %p
    {axes=(1,0)} -> f32[T,96] | 96
cast | E1 | rows | x=f32 y=f16,bf16,f32 K=96 | x:{K} | | %y = cast %x -> {y}[T,{K}] | {K}
cast | E1 | rows | x=f16,bf16 y=f32,f16,bf16 K=96 span=3 | x:{K} | | %y = cast %x -> {y}[T,{K}] |
    {K}
linear | E3.f32 | rows | codec=@weights K=256 N=48 | x:{K} | .w $w {codec}[{N},{K}] | %y = linear
    %x, $w -> f32[T,{N}] | {N}
linear | E3.f32 | rows | codec=f32,f16,bf16,q8_0,q4_0,q4_k,q6_k x=bf16,f16 y={x} K=256 N=64 |
    x:{K} | .w $w {codec}[{N},{K}] | %y = linear %x, $w -> {y}[T,{N}] | {N}
linear | E3.f32 | rows | codec=f32,bf16,q4_0,q8_0,q4_k,mxfp4 K=1024 N=40 | x:{K} | .w $w
    {codec}[{N},{K}] | %y = linear %x, $w -> f32[T,{N}] | {N}
linear | E3.f32 | few | codec=f32,q4_0,q4_k K=4096 N=24 | x:{K} | .w $w {codec}[{N},{K}] | %y =
    linear %x, $w -> f32[T,{N}] | {N}
linear | E3.f32 | rows | codec=f32 K=7,33,130 N=5,17 | x:{K} | .w $w {codec}[{N},{K}] | %y =
    linear %x, $w -> f32[T,{N}] | {N}
linear | E3.f32 | rows | codec=f32,q8_0,q5_k y=f32,bf16 K=256 N=33 | x:{K} | .w $w
    {codec}[{N},{K}] ; .w $b f32[{N}] | %y = linear %x, $w, $b -> {y}[T,{N}] | {N}
linear | E3.xq8 | rows | codec=f32,q8_0,q4_0 xq=i8/32,i8/tok,fp8/128,mxfp4 K=256 N=48 | x:{K} | .w
    $w {codec}[{N},{K}] | %y = linear %x, $w {xq={xq}} -> f32[T,{N}] | {N}
linear | E3.xq8 | rows | codec=bf16,f32,f16,q4_k xq=bf16 K=256 N=48 | x:{K} | .w $w
    {codec}[{N},{K}] | %y = linear %x, $w {xq={xq}} -> f32[T,{N}] | {N}
linear | E3.xq8 | rows | codec=bf16 xq=bf16 y=f32,bf16 K=130 N=33 | x:{K} | .w $w
    {codec}[{N},{K}] ; .w $b f32[{N}] | %y = linear %x, $w, $b {xq={xq}} -> {y}[T,{N}] | {N}
linear | E3.xq8 | rows | codec=q8_0,q4_0 xq=i8/32,i8/tok acc=i32 K=256 N=48 | x:{K} | .w $w
    {codec}[{N},{K}] | %y = linear %x, $w {xq={xq} acc={acc}} -> f32[T,{N}] | {N}
linear | E3.f16c | rows | codec=f16,q8_0 acc=f16c K=256 N=48 span=3 | x:{K} | .w $w
    {codec}[{N},{K}] | %y = linear %x, $w {acc={acc}} -> f32[T,{N}] | {N}
bmm | E3.f32 | rows | x=f32,bf16 y={x} | x:64 u:128 | | %a = view %x -> {x}[T,4,16] ; %b = view %u
    -> {x}[T,8,16] ; %p = bmm %a, %b -> {y}[T,4,8] ; %y = view %p -> {y}[T,32] | 32
bmm | E3.f32 | rows | K=131 | x:262 u:393 | | %a = view %x -> f32[T,2,{K}] ; %b = view %u ->
    f32[T,3,{K}] ; %p = bmm %a, %b -> f32[T,2,3] ; %y = view %p -> f32[T,6] | 6
bmm | E3.f32 | rows | codec=f32,bf16,q8_0 | x:256 | .w $w {codec}[4,24,64] | %a = view %x ->
    f32[T,4,64] ; %p = bmm %a, $w -> f32[T,4,24] ; %y = view %p -> f32[T,96] | 96
bmm | E3.f32 | rows | codec=f32,bf16,q8_0 | x:96 | .w $w {codec}[4,24,64] | %a = view %x ->
    f32[T,4,24] ; %p = bmm %a, $w {trans=1} -> f32[T,4,64] ; %y = view %p -> f32[T,256] | 256
rmsnorm | E4 | rows | x=f32,f16,bf16 y={x} K=96 | x:{K} | .w $g f32[{K}] | %y = rmsnorm %x, $g
    {eps=1e-5} -> {y}[T,{K}] | {K}
rmsnorm | E4 | rows | K=7,1000 | x:{K} | | %y = rmsnorm %x {eps=1e-6} -> f32[T,{K}] | {K}
rmsnorm | E4 | rows | group=16,48 K=96 | x:{K} | .w $g f32[{group}] | %y = rmsnorm %x, $g
    {group={group} eps=1e-3} -> f32[T,{K}] | {K}
rmsnorm | E4 | rows | cast=after_w,before_w x=f32,bf16 y=bf16 K=96 | x:{K} | .w $g f16[{K}] | %y =
    rmsnorm %x, $g {woff=1 cast={cast}} -> {y}[T,{K}] | {K}
layernorm | E4 | rows | x=f32,bf16 y={x} K=96 | x:{K} | .w $g f32[{K}] ; .w $b f32[{K}] | %y =
    layernorm %x, $g, $b {eps=1e-5} -> {y}[T,{K}] | {K}
layernorm | E4 | rows | K=33 | x:{K} | .w $g f32[{K}] | %y = layernorm %x, $g {eps=1e-3} ->
    f32[T,{K}] | {K}
layernorm | E4 | rows | K=1000 | x:{K} | | %y = layernorm %x -> f32[T,{K}] | {K}
add | E1 | rows | x=f32,f16,bf16 y={x} K=96 | x:{K} u:{K} | | %y = add %x, %u -> {y}[T,{K}] | {K}
add | E1 | rows | K=33 | x:{K} | .w $b f32[{K}] | %y = add %x, $b -> f32[T,{K}] | {K}
add | E1 | rows | scaled=1 x=f32,bf16 y={x} K=96 span=8 | x:{K} u:{K} | | %y = add %x, %u
    {alpha=0.3 beta=1.7} -> {y}[T,{K}] | {K}
mul | E1 | rows | x=f32,bf16 y={x} K=96 | x:{K} u:{K} | | %y = mul %x, %u -> {y}[T,{K}] | {K}
mul | E1 | rows | K=33 | x:{K} | .w $g f32[{K}] | %y = mul %x, $g -> f32[T,{K}] | {K}
mul | E1 | rows | K=96 | x:{K} | | %y = mul %x {alpha=11.3137} -> f32[T,{K}] | {K}
mul | E1 | rows | scaled=1 K=96 | x:{K} u:{K} | | %y = mul %x, %u {alpha=0.7} -> f32[T,{K}] | {K}
glu | E4 | rows | act=silu,gelu_tanh,gelu_erf,relu,swiglu_oai K=96 span=4 | x:{K} u:{K} | | %y =
    glu %x, %u {act={act}} -> f32[T,{K}] | {K}
glu | E4 | rows | act=silu,gelu_tanh x=bf16,f16 y={x} K=96 span=3 | x:{K} u:{K} | | %y = glu %x,
    %u {act={act}} -> {y}[T,{K}] | {K}
glu | E4 | rows | act=silu,gelu_erf K=66 span=4 | x:{K} | | %y = glu %x {act={act}} -> f32[T,33] |
    33
glu | E4 | rows | act=swiglu_oai x=f32,bf16 y={x} K=66 span=4 | x:{K} | | %y = glu %x {act={act}
    alpha=1.5 limit=2} -> {y}[T,33] | 33
act | E2 | rows | act=silu,gelu_tanh,gelu_erf,relu,relu2,sigmoid,tanh,softplus K=96 span=6 | x:{K}
    | | %y = act %x {act={act}} -> f32[T,{K}] | {K}
act | E2 | rows | act=silu,gelu_tanh,tanh x=bf16,f16 y={x} K=33 span=3 | x:{K} | | %y = act %x
    {act={act}} -> {y}[T,{K}] | {K}
act | E2 | rows | K=96 span=6 | x:{K} | | %y = act %x {act=softcap softcap=30} -> f32[T,{K}] | {K}
ew | E2 | rows | K=96 span=3 | x:{K} u:{K} | .w $g f32[{K}] | %y = ew %x, %u, $g {code=(x0 sigmoid
    x1 mul x2 mul)} -> f32[T,{K}] | {K}
ew | E2 | rows | K=33 span=3 | x:{K} | | %y = ew %x {code=(x0 abs 1 add sqrt x0 neg 0.5 mul exp 1
    add div)} -> f32[T,{K}] | {K}
ew | E2 | rows | x=bf16 y=bf16 K=96 span=3 | x:{K} u:{K} | | %y = ew %x, %u {code=(x0 x1 max x0 x1
    min abs 1 add div erf)} -> {y}[T,{K}] | {K}
reduce | E4 | rows | kind=sum,mean y=f32,bf16 | x:96 | | %h = view %x -> f32[T,4,24] ; %y = reduce
    %h {kind={kind}} -> {y}[T,4] | 4
reduce | E4 | rows | kind=softmax x=f32,bf16 y={x} span=3 | x:96 | | %h = view %x -> {x}[T,2,48] ;
    %s = reduce %h {kind={kind}} -> {y}[T,2,48] ; %y = view %s -> {y}[T,96] | 96
reduce | E4 | rows | kind=softmax span=3 | x:1000 | | %y = reduce %x {kind={kind}} -> f32[T,1000]
    | 1000
reduce | E0 | rows | x=f32,f16,bf16 y={x} | x:96 | | %h = view %x -> {x}[T,4,24] ; %y = reduce %h
    {kind=max} -> {y}[T,4] | 4
reduce | E0 | rows | x=f32,bf16 y=i32 | x:96 | | %h = view %x -> {x}[T,4,24] ; %y = reduce %h
    {kind=argmax} -> i32[T,4] | 4
rope | E2 | rows | style=neox,gptj x=f32,f16,bf16 y={x} K=64 | x:{K} | .w $invf f32[8] | %y = rope
    %x, %pos, $invf {style={style} heads=4 rot=16} -> {y}[T,{K}] | {K}
rope | E2 | rows | style=neox,gptj K=96 | x:{K} | .const $invf f32[4] = 1 0.1 0.01 0.001 | %y =
    rope %x, %pos, $invf {style={style} heads=3 rot=8 offset=5 mscale=1.25} -> f32[T,{K}] | {K}
rope | E2 | rows | style=neox K=48 | x:{K} | .w $invf f32[3,8] | %y = rope %x, %pos, $invf
    {style={style} heads=3 rot=16 table=2} -> f32[T,{K}] | {K}
kv_append | E0 | cache | fmt=f32,f16,bf16,e4m3,q8_0,q4_0 | x:64 u:64 | .kv $kv layers=1 heads=2
    dk=32 dv=32 fmt={fmt} page=16 | kv_append $kv[0], %x, %u, %bt ; %y = attn %x, $kv[0], %bt
    {heads=2 scale=0.1 window=1} -> f32[T,64] | 64
kv_append | E0 | cache | x=bf16 y={x} fmt=f16,bf16 | x:64 u:48 | .kv $kv layers=2 heads=2 dk=32
    dv=24 fmt={fmt} page=16 | kv_append $kv[0], %x, %u, %bt ; kv_append $kv[1], %x, %u, %bt ; %y =
    attn %x, $kv[1], %bt {heads=2 scale=0.1 window=1} -> {y}[T,48] | 48
attn | E4 | cache | fmt=f32,f16,bf16,e4m3,q8_0,q4_0 span=2 | q:128 k:64 v:64 | .kv $kv layers=1
    heads=2 dk=32 dv=32 fmt={fmt} page=16 | kv_append $kv[0], %k, %v, %bt ; %y = attn %q, $kv[0],
    %bt {heads=4 scale=0.17677669} -> f32[T,128] | 128
attn | E4 | cache | x=bf16,f16 y={x} fmt=f16 span=2 | q:128 k:64 v:64 | .kv $kv layers=1 heads=2
    dk=32 dv=32 fmt={fmt} page=16 | kv_append $kv[0], %k, %v, %bt ; %y = attn %q, $kv[0], %bt
    {heads=4 scale=0.17677669} -> {y}[T,128] | 128
attn | E4 | cache | window=1,9,16,17 fmt=f16 span=2 | q:64 k:32 v:32 | .kv $kv layers=1 heads=2
    dk=16 dv=16 fmt={fmt} page=16 | kv_append $kv[0], %k, %v, %bt ; %y = attn %q, $kv[0], %bt
    {heads=4 scale=0.25 window={window}} -> f32[T,64] | 64
attn | E4 | cache | fmt=f16 span=2 | q:64 k:32 v:32 | .kv $kv layers=1 heads=2 dk=16 dv=16
    fmt={fmt} page=16 ; .w $s f32[4] | kv_append $kv[0], %k, %v, %bt ; %y = attn %q, $kv[0], %bt,
    $s {heads=4 scale=0.25 window=21 softcap=5} -> f32[T,64] | 64
attn | E4 | cache | sinks=1 fmt=f16,q8_0 span=2 | q:128 k:32 v:32 | .kv $kv layers=1 heads=1 dk=32
    dv=32 fmt={fmt} page=16 ; .w $s f32[4] | kv_append $kv[0], %k, %v, %bt ; %y = attn %q, $kv[0],
    %bt, $s {heads=4 scale=0.17677669} -> f32[T,128] | 128
attn | E4 | cache | uneven=1 fmt=f16 span=2 | q:120 k:24 v:40 | .kv $kv layers=1 heads=1 dk=24
    dv=40 fmt={fmt} page=32 | kv_append $kv[0], %k, %v, %bt ; %y = attn %q, $kv[0], %bt {heads=5
    scale=0.2} -> f32[T,200] | 200
attn | E4 | cache | latent=1 fmt=f16 span=2 | q:288 k:72 | .kv $kv layers=1 heads=1 dk=72 dv=0
    fmt={fmt} page=16 latent=64 | kv_append $kv[0], %k, %bt ; %y = attn %q, $kv[0], %bt {heads=4
    scale=0.12} -> f32[T,256] | 256
attn | E4 | cache | mask=full,tree fmt=f32,f16,q8_0 span=2 | q:128 k:64 v:64 | .kv $kv layers=1
    heads=2 dk=32 dv=32 fmt={fmt} page=16 | kv_append $kv[0], %k, %v, %bt ; %y = attn %q, $kv[0],
    %bt {heads=4 scale=0.17677669 mask={mask}} -> f32[T,128] | 128
attn | E4 | cache | mask=full,tree x=bf16 y={x} fmt=f16 span=2 | q:120 k:24 v:40 | .kv $kv
    layers=1 heads=1 dk=24 dv=40 fmt={fmt} page=32 ; .w $s f32[5] | kv_append $kv[0], %k, %v, %bt ;
    %y = attn %q, $kv[0], %bt, $s {heads=5 scale=0.2 softcap=5 mask={mask}} -> {y}[T,200] | 200
attn | E4 | cache | mask=full,tree latent=1 fmt=f16 span=2 | q:288 k:72 | .kv $kv layers=1 heads=1
    dk=72 dv=0 fmt={fmt} page=16 latent=64 | kv_append $kv[0], %k, %bt ; %y = attn %q, $kv[0], %bt
    {heads=4 scale=0.12 mask={mask}} -> f32[T,256] | 256
logits | E0 | rows | span=3 | x:200 | | %r = gather %x, %rows -> f32[R,200] ; %y = logits %r,
    %params -> f32[R,200] | 200
sample | E0 | rows | y=i32 span=3 | x:200 | | %r = gather %x, %rows -> f32[R,200] ; %y, %also =
    sample %r, %params -> i32[R], f32[R] | 1
sample | E0 | rows | filtered=1 y=i32 span=3 | x:200 | | %r = gather %x, %rows -> f32[R,200] ; %f
    = logits %r, %params -> f32[R,200] ; %y, %also = sample %f, %params -> i32[R], f32[R] | 1
route | E4 | rows | score=softmax,sigmoid,sqrt_softplus,softmax_topk span=1 | x:8 router:16 | .w
    $w f32[16,4,8] | %y, %p = route %router {k=4 score={score}} -> f32[T,4], perm[T,4,16] ; %also
    = grouped_linear %x, $w, %p -> f32[4*T,4] | 4
route | E4 | rows | renorm=1 span=1 | x:8 router:16 | .w $b f32[16] ; .w $w f32[16,4,8] | %y, %p =
    route %router, $b {k=3 score=sigmoid groups=4 topk_groups=2 group_score=top2 renorm=1
    scale=2.5} -> f32[T,3], perm[T,3,16] ; %also = grouped_linear %x, $w, %p -> f32[3*T,4] | 3
route | E0 | rows | y=i32 span=1 | x:32 router:16 | .w $b f32[16] ; .w $w f32[16,32,32] | %v, %p,
    %y = route %router, $b {k=3 score=sigmoid groups=4 topk_groups=2} -> f32[T,3], perm[T,3,16],
    i32[T,3] ; %e = grouped_linear %x, $w, %p -> f32[3*T,32] ; %also = combine %e, %p, %v ->
    f32[T,32] | 3
grouped_linear | E3.f32 | rows | codec=@weights | x:256 router:8 | .w $w {codec}[8,24,256] |
    %also, %p = route %router {k=1} -> f32[T,1], perm[T,1,8] ; %y = grouped_linear %x, $w, %p ->
    f32[T,24] | 24
grouped_linear | E3.xq8 | rows | codec=bf16,q8_0 xq=bf16 span=3 | x:256 router:8 | .w $w
    {codec}[8,24,256] | %also, %p = route %router {k=1} -> f32[T,1], perm[T,1,8] ; %y =
    grouped_linear %x, $w, %p {xq={xq}} -> f32[T,24] | 24
grouped_linear | E3.xq8 | rows | codec=q8_0,q4_0 xq=i8/32,i8/tok acc=i32 span=3 | x:256 router:8 |
    .w $w {codec}[8,24,256] | %also, %p = route %router {k=1} -> f32[T,1], perm[T,1,8] ; %y =
    grouped_linear %x, $w, %p {xq={xq} acc={acc}} -> f32[T,24] | 24
grouped_linear | E3.f32 | rows | codec=f32,q8_0,q4_k x=bf16 y=bf16 span=3 | x:256 router:8 | .w $w
    {codec}[8,24,256] ; .w $b f32[8,24] | %also, %p = route %router {k=1} -> f32[T,1], perm[T,1,8]
    ; %y = grouped_linear %x, $w, %p, $b -> {y}[T,24] | 24
combine | E4 | rows | x=f32,bf16 y={x} K=48 | x:{K} p:3 router:8 | .w $eye f32[8,{K},{K}] | %also,
    %m = route %router {k=3} -> f32[T,3], perm[T,3,8] ; %c = grouped_linear %x, $eye, %m ->
    {x}[3*T,{K}] ; %y = combine %c, %m, %p -> {y}[T,{K}] | {K}
attn_dense | E4 | fresh | mask=causal,full span=2 | q:128 k:64 v:64 | | %y = attn_dense %q, %k,
    %v, %bt {heads=4 kv_heads=2 scale=0.17677669 mask={mask}} -> f32[T,128] | 128
attn_dense | E4 | fresh | mask=causal,full window=5 span=2 | q:60 k:30 v:20 | | %y = attn_dense
    %q, %k, %v, %bt {heads=4 kv_heads=2 scale=0.25 window={window} mask={mask} softcap=8} ->
    f32[T,40] | 40
pool | E0 | rows | pooling=last,cls,max | x:160 | | %y = pool %x, %bt {pooling={pooling}} ->
    f32[S,160] | 160
pool | E4 | rows | pooling=mean norm=0,1 x=f32,bf16 y={x} | x:160 | | %y = pool %x, %bt
    {pooling={pooling} norm={norm}} -> {y}[S,160] | 160
pool | E4 | rows | pooling=last norm=1 | x:160 | | %y = pool %x, %bt {pooling={pooling}
    norm={norm}} -> f32[S,160] | 160
spec_verify | E0 | rows | y=i32 span=3 | x:384 | | %r = gather %x, %rows -> f32[R,384] ; %y, %also
    = spec_verify %r, %ids, %rows, %params, %bt -> i32[S], i32[S] | 1
spec_verify | E0 | rows | token=1 y=i32 span=3 | x:384 | | %r = gather %x, %rows -> f32[R,384] ;
    %also, %y = spec_verify %r, %ids, %rows, %params, %bt -> i32[S], i32[S] | 1
spec_verify | E0 | rows | accepts=1 y=i32 span=3 | next:384 | | %r = gather %next, %rows ->
    f32[R,384] ; %y, %also = spec_verify %r, %ids, %rows, %params, %bt -> i32[S], i32[S] | 1
spec_verify | E0 | rows | accepts=1 token=1 y=i32 span=3 | next:384 | | %r = gather %next, %rows ->
    f32[R,384] ; %also, %y = spec_verify %r, %ids, %rows, %params, %bt -> i32[S], i32[S] | 1
spec_verify | E0 | rows | accepts=1 tree=1 y=i32 span=3 | next:384 | | %r = gather %next, %rows ->
    f32[R,384] ; %y, %also = spec_verify %r, %ids, %rows, %params, %bt -> i32[S], i32[S] | 1
spec_verify | E0 | rows | accepts=1 tree=1 token=1 y=i32 span=3 | next:384 | | %r = gather %next,
    %rows -> f32[R,384] ; %also, %y = spec_verify %r, %ids, %rows, %params, %bt -> i32[S], i32[S] |
    1
spec_verify | E0 | rows | rejection=1 y=i32 span=3 | next:384 x:384 | | %r = gather %next, %rows ->
    f32[R,384] ; %q = gather %x, %rows -> f32[R,384] ; %y, %also = spec_verify %r, %ids, %rows,
    %params, %bt, %q {mode=rejection} -> i32[S], i32[S] | 1
spec_verify | E0 | rows | rejection=1 token=1 y=i32 span=3 | next:384 x:384 | | %r = gather %next,
    %rows -> f32[R,384] ; %q = gather %x, %rows -> f32[R,384] ; %also, %y = spec_verify %r, %ids,
    %rows, %params, %bt, %q {mode=rejection} -> i32[S], i32[S] | 1
)";

}  // namespace

std::string_view case_table() {
  return kTable;
}

}  // namespace tg::conformance
