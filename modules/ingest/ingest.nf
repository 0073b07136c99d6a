process INGEST {
    tag "${role}"
    label 'process_medium'

    input:
    tuple val(role), path(source, stageAs: 'source/*'), val(fingerprint)
    path like, stageAs: 'like.json'
    val flags

    output:
    tuple path("${role}.ome.zarr"), path("${role}.ome.zarr.manifest.json"), emit: volume
    path "${role}.source.json", emit: facts
    path 'blocks.txt', emit: blocks
    path 'slabs.txt', emit: slabs
    path 'superblocks.txt', emit: superblocks
    path '*.provenance.json', emit: provenance

    script:
    """
    ingest.py ${flags} ${source ? "--source ${source}" : ''} ${like ? '--like like.json' : ''} --role ${role} --output ${role}.ome.zarr --facts ${role}.source.json --block_list blocks.txt --slab_list slabs.txt --superblock_list superblocks.txt
    """

    stub:
    """
    stub.sh ${role}.ome.zarr/ ${role}.ome.zarr.manifest.json ${role}.source.json blocks.txt=0-0 slabs.txt=0-0 superblocks.txt=0-0 ingest.${role}.provenance.json
    """
}
