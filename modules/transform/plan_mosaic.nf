process PLAN_MOSAIC {
    label 'process_single'

    input:
    path tiles
    path sections
    tuple path(positions, stageAs: 'placed?/*'), path(seams, stageAs: 'placed?/*'), path(light, stageAs: 'placed?/*')
    val flags

    output:
    path 'mosaic.json', emit: mosaic
    path 'of_blocks/*.json', emit: of_blocks
    path 'published/tile_*.csv', emit: tables
    path 'blocks.csv', emit: blocks
    path 'superblocks.csv', emit: superblocks
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    plan_mosaic.py ${flags} --tiles ${tiles} --sections ${sections} --positions placed*/positions.csv --seams placed*/seams.csv --light placed*/light.npz --mosaic mosaic.json --of_blocks of_blocks --tile_positions published/tile_positions.csv --tile_seams published/tile_seams.csv --block_list blocks.csv --superblock_list superblocks.csv
    """

    stub:
    """
    stub.sh mosaic.json of_blocks/0-0.json published/tile_positions.csv published/tile_seams.csv 'blocks.csv=id,block\\n0-0,0-0' 'superblocks.csv=id,block\\n0-0,0-0' plan_mosaic.provenance.json
    """
}
