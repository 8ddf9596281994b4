# libpq, for the store in PostgreSQL. Debian keeps its header in a folder of its own.
find_path(TG_PQ_INCLUDE libpq-fe.h PATH_SUFFIXES postgresql REQUIRED)
find_library(TG_PQ pq REQUIRED)
target_include_directories(tg_ledger SYSTEM PRIVATE ${TG_PQ_INCLUDE})
target_link_libraries(tg_ledger PUBLIC ${TG_PQ})
